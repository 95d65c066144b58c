package netcfg

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Selector says which NIC is wanted. Exactly one of the three is used: Name
// (name or altname) wins over MAC, MAC over Auto. The zero value means Auto.
type Selector struct {
	Auto bool
	Name string
	MAC  string
}

// String renders the selector for messages: auto, a name or a MAC.
func (s Selector) String() string {
	switch {
	case s.Name != "":
		return s.Name
	case s.MAC != "":
		return s.MAC
	}
	return "auto"
}

func (s Selector) auto() bool { return s.Name == "" && s.MAC == "" }

// SelectionInput is what the selection looks at besides the inventory.
type SelectionInput struct {
	Selector Selector
	// VPNServers are ranked by being on-link; may be empty.
	VPNServers []netip.Addr
	// RemoteNodeCIDRs must contain the node IP; empty means no restriction.
	RemoteNodeCIDRs []netip.Prefix
	// Toward are addresses of the API endpoint and the plane.
	Toward []netip.Addr
	// Sticky is the link that was selected before; the zero value: none.
	Sticky Remembered
	// Hold says that a node runs with Sticky.NodeIP. See SelectNIC.
	Hold bool
}

// Candidate is one link with the verdict on it.
type Candidate struct {
	Link Link
	// NodeIP is the address that would be the node IP; invalid if none fits.
	NodeIP netip.Addr
	// Accepted candidates could be used; the Selected one is.
	Accepted, Selected bool
	// Code says in a word why the link was not accepted; "" where it was.
	Code string
	// Reasons explain the verdict, most telling first; never empty.
	Reasons []string

	rank rank
}

// String renders the candidate on one line: name, addresses, reasons.
func (c Candidate) String() string {
	addrs := make([]string, 0, len(c.Link.Addrs))
	for _, a := range c.Link.Addrs {
		addrs = append(addrs, a.String())
	}
	list := "no IPv4 address"
	if len(addrs) > 0 {
		list = strings.Join(addrs, ", ")
	}
	return fmt.Sprintf("%s (%s) %s", c.Link.Name, list, strings.Join(c.Reasons, ", "))
}

// Selection is the NIC to use and the node IP on it.
type Selection struct {
	Link   Link
	NodeIP netip.Addr
	// Prefix is the node IP with its prefix length, not masked.
	Prefix netip.Prefix
	// Reason says in a few words why this link was taken.
	Reason string
}

// rank orders accepted candidates; see better.
type rank struct {
	vpnOnLink, inCIDR, toward bool
	metric                    uint64
	index                     int
}

// SelectNIC picks the NIC and the node IP. Candidates come back in the order of
// the verdict: selected, accepted, rejected; each keeps its reasons. The error,
// if any, is a *SelectionError that names every candidate. It is pure.
func SelectNIC(inv Inventory, in SelectionInput) (Selection, []Candidate, error) {
	cands := make([]Candidate, 0, len(inv.Links))
	for _, l := range inv.Links {
		cands = append(cands, judge(inv, in, l))
	}
	slices.SortStableFunc(cands, func(a, b Candidate) int {
		if a.Accepted != b.Accepted {
			return boolFirst(a.Accepted, b.Accepted)
		}
		if !a.Accepted {
			return cmp.Compare(a.Link.Index, b.Link.Index)
		}
		return a.rank.compare(b.rank)
	})
	if len(cands) == 0 || !cands[0].Accepted {
		return Selection{}, cands, refuse(in, cands)
	}
	keepSticky(in, cands)
	return finish(cands), cands, nil
}

// keepSticky moves the link that was selected before to the front. Where it is
// there already, the reasons stay those that put it there.
func keepSticky(in SelectionInput, cands []Candidate) {
	for i, c := range cands {
		if !c.Accepted || !c.Link.HasName(in.Sticky.Name) {
			continue
		}
		if i == 0 {
			return
		}
		c.Reasons = append([]string{"selected before and still valid"}, c.Reasons...)
		copy(cands[1:i+1], cands[:i])
		cands[0] = c
		return
	}
}

func finish(cands []Candidate) Selection {
	best := &cands[0]
	best.Selected = true
	for i := 1; i < len(cands) && cands[i].Accepted; i++ {
		cands[i].Reasons = append(cands[i].Reasons, "ranked below "+best.Link.Name)
	}
	sel := Selection{Link: best.Link, NodeIP: best.NodeIP, Reason: best.Reasons[0]}
	for _, p := range best.Link.Addrs {
		if p.Addr() == best.NodeIP {
			sel.Prefix = p
			break
		}
	}
	return sel
}

// compare puts the better rank first: VPN server on-link, then address inside the
// remote node CIDRs, then route towards API or plane, then the lowest
// default-route metric, then the lowest index.
func (r rank) compare(o rank) int {
	return cmp.Or(
		boolFirst(r.vpnOnLink, o.vpnOnLink),
		boolFirst(r.inCIDR, o.inCIDR),
		boolFirst(r.toward, o.toward),
		cmp.Compare(r.metric, o.metric),
		cmp.Compare(r.index, o.index),
	)
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func (s Selector) what() string {
	if s.Name != "" {
		return "name"
	}
	return "MAC address"
}

func joinPrefixes(ps []netip.Prefix) string {
	parts := make([]string, 0, len(ps))
	for _, p := range ps {
		parts = append(parts, p.String())
	}
	return strings.Join(parts, ", ")
}
