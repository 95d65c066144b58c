package netcfg

import (
	"fmt"
	"net/netip"
	"strings"
)

// Candidate is one link with the verdict on it.
type Candidate struct {
	Link Link
	// NodeIP is the address that would be the node IP; invalid if none fits.
	NodeIP netip.Addr
	// Accepted candidates could be used; the Selected one is. A link that another
	// one's name or MAC keeps from being selected is judged as for auto.
	Accepted, Selected bool
	// Code says in a word why the link was not accepted; "" where it was.
	Code string
	// Reasons explain the verdict, most telling first; never empty.
	Reasons []string

	meant  bool // auto, or the name or MAC means it
	rank   rank
	prefix netip.Prefix // NodeIP with its length
	single bool         // NodeIP belongs to no subnet of the link
}

// listed bounds what one message says of addresses and CIDRs: kube-proxy's IPVS
// link alone may carry thousands.
const listed = 4

// String renders the candidate on one line: name, addresses, reasons.
func (c Candidate) String() string {
	list := "no IPv4 address"
	if len(c.Link.Addrs) > 0 {
		list = joinPrefixes(c.Link.Addrs)
	}
	return fmt.Sprintf("%s (%s) %s", c.Link.Name, list, strings.Join(c.Reasons, ", "))
}

func (c *Candidate) prepend(reason string) { c.Reasons = append([]string{reason}, c.Reasons...) }

func (c *Candidate) reject(code, format string, args ...any) {
	c.Code, c.Reasons = code, append(c.Reasons, fmt.Sprintf(format, args...))
}

func joinPrefixes(ps []netip.Prefix) string {
	parts := make([]string, 0, listed+1)
	for i, p := range ps {
		if i == listed {
			parts = append(parts, fmt.Sprintf("and %d more", len(ps)-listed))
			break
		}
		parts = append(parts, p.String())
	}
	return strings.Join(parts, ", ")
}
