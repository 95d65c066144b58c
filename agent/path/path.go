package path

import (
	"net/netip"
	"slices"
	"time"

	"hybridagent/netcfg"
)

// Plan says what to probe and how.
type Plan struct {
	// NIC is the link that probes leave by; empty: nothing is probed.
	NIC string
	// Source is the source address of probes.
	Source netip.Addr
	// APIEndpoint is host:port; empty: not probed.
	APIEndpoint string
	// Targets are addresses (ICMP) or host:port (TCP).
	Targets []string
	// Interval is the time between rounds.
	Interval time.Duration
	// Routes is any text that changes with the routes: a change starts a round at
	// once.
	Routes string

	// Link is what the nic stage knows of the NIC.
	Link Link
	// Gateway is the default gateway that the host uses; invalid: none.
	Gateway netip.Addr
	// Servers are the VPN servers that can be used, in order of preference; each is
	// probed by its mark. Active is the one that the routes lead through; invalid
	// where the network's gateway routes the VPC.
	Servers []netcfg.ServerPath
	Active  netip.Addr
	// VPCCIDRs tell an address of the VPC from a public one; none: every target is
	// taken to be in the VPC.
	VPCCIDRs []netip.Prefix
	// Access is which answer the API endpoint's name is to have.
	Access Access
	// Internet are host:port outside the site, reached by whatever way the host
	// has: the plane. Any that answers says that the internet is fine.
	Internet []string
	// Proxy is host:port of the host's proxy; empty: none.
	Proxy string
	// RouteMTU is the MTU that the routes carry, in bytes; 0: the link's. MTUFixed
	// says that no other will be set whatever is found.
	RouteMTU int
	MTUFixed bool
	// Hurry asks for a round each two seconds and holds no verdict back: a trial
	// waits for it.
	Hurry bool
}

// Link is what the nic stage knows of the NIC; where none could be selected, of
// the one that is meant. The zero Link says nothing: nothing is judged by it.
type Link struct {
	// Name of the link; empty: no such link.
	Name string
	// Up and Carrier are its states, Addressed whether it has a usable IPv4 address.
	Up, Carrier, Addressed bool
	// MTU in bytes.
	MTU int
	// Why says in words what is wrong with it; empty: nothing.
	Why string
}

// Access is how the cluster's API endpoint is to be reached.
type Access int

// How an API endpoint is reached.
const (
	// AccessAny: any answer of the name is right.
	AccessAny Access = iota
	// AccessPrivate: the name is to resolve to addresses in the VPC.
	AccessPrivate
	// AccessPublic: the name is to resolve to addresses outside the VPC.
	AccessPublic
)

// Equal says whether two plans ask for the same.
func (p Plan) Equal(o Plan) bool {
	return p.sameWay(o) && p.Interval == o.Interval && p.Link == o.Link && p.Gateway == o.Gateway &&
		slices.Equal(p.Servers, o.Servers) && slices.Equal(p.VPCCIDRs, o.VPCCIDRs) && p.Access == o.Access &&
		slices.Equal(p.Internet, o.Internet) && p.Proxy == o.Proxy &&
		p.RouteMTU == o.RouteMTU && p.MTUFixed == o.MTUFixed && p.Hurry == o.Hurry
}

// sameWay says whether two plans probe the same targets by the same way, so that
// what one found holds for the other.
func (p Plan) sameWay(o Plan) bool {
	return p.NIC == o.NIC && p.Source == o.Source && p.APIEndpoint == o.APIEndpoint &&
		p.Routes == o.Routes && p.Active == o.Active && slices.Equal(p.Targets, o.Targets)
}

// sameTunnel says whether the path MTU of one plan's way holds for the other until
// it is measured again: other routes by the same server do not change it.
func (p Plan) sameTunnel(o Plan) bool {
	return p.NIC == o.NIC && p.Source == o.Source && p.Active == o.Active && p.Link.MTU == o.Link.MTU
}

// idle says that the plan gives nothing to probe.
func (p Plan) idle() bool {
	return p.NIC == "" || !p.Source.IsValid() || p.APIEndpoint == "" && len(p.Targets) == 0
}

// way is the one that the host's own traffic to the VPC takes.
func (p Plan) way() Way { return Way{NIC: p.NIC, Source: p.Source} }

// inVPC says whether an address is one of the VPC's.
func (p Plan) inVPC(addr netip.Addr) bool {
	return len(p.VPCCIDRs) == 0 || slices.ContainsFunc(p.VPCCIDRs, func(c netip.Prefix) bool { return c.Contains(addr) })
}
