package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// RouteIntent is the routing part of an assignment.
type RouteIntent struct {
	// VPCCIDRs are the destinations, one route each. Duplicates count once.
	VPCCIDRs []netip.Prefix
	// VPNServers are the possible next hops on the selected NIC's link, in order of
	// preference. None means that the default gateway routes the VPC: no route is
	// planned.
	VPNServers []netip.Addr
	// Active is the server that the main table's routes lead through; the zero
	// value, or one that is not among VPNServers, means the first that can be used.
	Active netip.Addr
	// Metric of the main table's routes; 0 is the strongest.
	Metric uint32
	// OnLink accepts servers that no subnet of the NIC holds, as neighbours.
	OnLink bool
	// MTU for the routes, in bytes; 0: the link's.
	MTU uint32
}

// Plan is what PlanRoutes makes of an intent.
type Plan struct {
	// Routes and Rules for the kernel, sorted.
	Routes []Route
	Rules  []Rule
	// Active is the server in use; invalid where the intent is NotRequired.
	Active netip.Addr
	// Servers that can be used, in order of preference, with how to probe each.
	Servers []ServerPath
	// Unusable are the servers that were left out; one could be used.
	Unusable []*FieldError
}

// NotRequired says that no route is to be installed, because the default gateway
// is expected to route the VPC.
func (i RouteIntent) NotRequired() bool { return len(i.VPNServers) == 0 }

// PlanRoutes returns one route per VPC CIDR via the VPN server, source = node IP,
// sorted; none where the intent is NotRequired. It is pure. Each refused value is
// a *FieldError, all of them joined; with an error there are no routes: part of a
// VPC is not a state that anybody asked for.
func PlanRoutes(inv Inventory, sel Selection, intent RouteIntent) (Plan, error) {
	if intent.NotRequired() {
		return Plan{}, nil
	}
	server := intent.VPNServers[0]
	var errs []error
	if e := refuseServer(inv, sel, server); e != nil {
		errs = append(errs, e)
	}
	seen := make(map[netip.Prefix]bool)
	var routes []Route
	for i, cidr := range intent.VPCCIDRs {
		if seen[cidr] {
			continue
		}
		seen[cidr] = true
		if e := refuseCIDR(inv, server, cidr); e != nil {
			e.Field = fmt.Sprintf("%s[%d]", FieldVPCCIDRs, i)
			errs = append(errs, e)
			continue
		}
		routes = append(routes, Route{
			Dst: cidr, Gateway: server, Source: sel.NodeIP, LinkIndex: sel.Link.Index,
			Protocol: OwnProtocol, Scope: ScopeUniverse, Type: TypeUnicast, Table: TableMain,
		})
	}
	if len(errs) > 0 {
		return Plan{}, errors.Join(errs...)
	}
	return Plan{Routes: sortRoutes(routes), Active: server, Servers: []ServerPath{{Server: server}}}, nil
}

func refuseServer(inv Inventory, sel Selection, server netip.Addr) *FieldError {
	refuse := func(format string, args ...any) *FieldError {
		return &FieldError{
			Field: FieldVPNServers, Value: server.String(), Reason: fmt.Sprintf(format, args...),
			Action: "correct the host's VPN server IP in the NodePool",
		}
	}
	if !server.Is4() {
		return refuse("it is not an IPv4 address")
	}
	if !isGlobal(server) {
		return refuse("it is not a unicast address")
	}
	for _, l := range inv.Links {
		if l.HasAddr(server) {
			return refuse("it is this host's own address on %s", l.Name)
		}
	}
	link, ok := inv.LinkByIndex(sel.Link.Index)
	if !ok {
		return refuse("the selected NIC %s is gone", sel.Link.Name)
	}
	for _, p := range link.Addrs {
		if p.Contains(server) {
			return refuseEdge(p, server, refuse)
		}
	}
	if !onLinkByRoute(inv, link, server) {
		return refuse("it is not on-link on %s (%s)", link.Name, joinPrefixes(link.Addrs))
	}
	return nil
}

// refuseEdge refuses a subnet's network and broadcast address.
func refuseEdge(p netip.Prefix, server netip.Addr, refuse func(string, ...any) *FieldError) *FieldError {
	if p.Bits() >= 31 {
		return nil
	}
	if server == p.Masked().Addr() {
		return refuse("it is the network address of %s", p.Masked())
	}
	if server == lastAddr(p) {
		return refuse("it is the broadcast address of %s", p.Masked())
	}
	return nil
}

// onLinkByRoute accepts a next hop that the operator put on the link with a route
// of link scope, as providers with /32 addresses do.
func onLinkByRoute(inv Inventory, link Link, server netip.Addr) bool {
	return slices.ContainsFunc(inv.Routes, func(r Route) bool {
		return r.Type == TypeUnicast && r.LinkIndex == link.Index && !r.Gateway.IsValid() &&
			r.Scope == ScopeLink && r.Dst.Bits() > 0 && r.Dst.Contains(server)
	})
}

func refuseCIDR(inv Inventory, server netip.Addr, cidr netip.Prefix) *FieldError {
	refuse := func(format string, args ...any) *FieldError {
		return &FieldError{
			Field: FieldVPCCIDRs, Value: cidr.String(), Reason: fmt.Sprintf(format, args...),
			Action: "correct the HybridCluster's VPC CIDRs, or the host's network",
		}
	}
	switch {
	case !cidr.IsValid():
		return refuse("it is not a prefix")
	case !cidr.Addr().Is4():
		return refuse("it is not IPv4")
	case cidr.Bits() == 0:
		return refuse("it would take every destination")
	case cidr != cidr.Masked():
		return refuse("it has host bits set (the network is %s)", cidr.Masked())
	case !isUnicast(cidr):
		return refuse("it is not a unicast network")
	case cidr.Contains(server):
		return refuse("it covers the VPN server %s, through which it is to be reached", server)
	}
	for _, r := range inv.Routes {
		if r.IsDefault() && r.Gateway.IsValid() && cidr.Contains(r.Gateway) {
			return refuse("it covers the default gateway %s", r.Gateway)
		}
	}
	if why := overlapsOnLink(inv, cidr); why != "" {
		return refuse("%s", why)
	}
	return nil
}

// overlapsOnLink finds a subnet of this host that shares addresses with the CIDR,
// in either direction: a wider VPC CIDR is shadowed in part, a narrower one
// captures part of the LAN.
func overlapsOnLink(inv Inventory, cidr netip.Prefix) string {
	for _, l := range inv.Links {
		for _, p := range l.Addrs {
			if p.Overlaps(cidr) {
				return fmt.Sprintf("it overlaps the on-link subnet %s of %s", p.Masked(), l.Name)
			}
		}
	}
	for _, r := range inv.Routes {
		if r.Type == TypeUnicast && r.Scope == ScopeLink && !r.Own() && r.Dst.Bits() > 0 && r.Dst.Overlaps(cidr) {
			l, _ := inv.LinkByIndex(r.LinkIndex)
			return fmt.Sprintf("it overlaps the on-link route %s of %s", r.Dst, l.Name)
		}
	}
	return ""
}

// isUnicast says whether every address of the prefix is IPv4 unicast that can be
// routed.
func isUnicast(p netip.Prefix) bool {
	for _, reserved := range []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{0}), 8),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254}), 16),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 3),
	} {
		if reserved.Overlaps(p) {
			return false
		}
	}
	return true
}

func lastAddr(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}
