package netcfg

import (
	"fmt"
	"net/netip"
	"slices"
)

// judgeServers tells the VPN servers that can be next hops from the others.
func judgeServers(inv Inventory, sel Selection, intent RouteIntent) (usable []usableServer, unusable []*FieldError) {
	for i, server := range intent.VPNServers {
		onLink, e := refuseServer(inv, sel, intent, i)
		if e == nil {
			usable = append(usable, usableServer{addr: server, index: i, onLink: onLink})
			continue
		}
		e.Field = fmt.Sprintf("%s[%d]", FieldVPNServers, i)
		e.Value = server.String()
		if e.Action == "" {
			e.Action = "correct the host's VPN server IPs in the NodePool"
		}
		unusable = append(unusable, e)
	}
	return usable, unusable
}

// refuseServer says why the server at that place of the list cannot be a next hop,
// or whether the kernel must be told that it is a neighbour.
func refuseServer(inv Inventory, sel Selection, intent RouteIntent, at int) (onLink bool, e *FieldError) {
	server := intent.VPNServers[at]
	switch first := slices.Index(intent.VPNServers, server); {
	case at >= MaxVPNServers:
		return false, invalidServer("a host can have %d VPN servers at most", MaxVPNServers)
	case first < at:
		return false, invalidServer("it is given twice, at %s[%d] too", FieldVPNServers, first)
	case !server.Is4():
		return false, invalidServer("it is not an IPv4 address")
	case !isGlobal(server):
		return false, invalidServer("it is not a unicast address")
	}
	for _, l := range inv.Links {
		if l.HasAddr(server) {
			return false, invalidServer("it is this host's own address on %s", l.Name)
		}
	}
	link, ok := inv.LinkByIndex(sel.Link.Index)
	if !ok {
		return false, &FieldError{
			Code: NICGone, Reason: fmt.Sprintf("the selected NIC %s is gone", sel.Link.Name),
			Action: "bring the NIC back, or select another one",
		}
	}
	for _, p := range link.Addrs {
		if p.Contains(server) {
			return false, refuseEdge(p, server)
		}
	}
	if onLinkByRoute(inv, link, server) {
		return false, nil
	}
	return intent.OnLink, refuseDistant(inv, link, intent.OnLink, server)
}

func invalidServer(format string, args ...any) *FieldError {
	return &FieldError{Code: VPNServerInvalid, Reason: fmt.Sprintf(format, args...)}
}

// refuseEdge refuses a subnet's network and broadcast address.
func refuseEdge(p netip.Prefix, server netip.Addr) *FieldError {
	switch {
	case p.Bits() >= 31:
		return nil
	case server == p.Masked().Addr():
		return invalidServer("it is the network address of %s", p.Masked())
	case server == lastAddr(p):
		return invalidServer("it is the broadcast address of %s", p.Masked())
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

// refuseDistant refuses a server that the NIC does not have for a neighbour. Where
// the operator says that it is one all the same, that is believed, unless another
// link's subnet holds it: nobody would answer.
func refuseDistant(inv Inventory, nic Link, onLink bool, server netip.Addr) *FieldError {
	e := &FieldError{
		Code: VPNServerNotOnLink, Reason: fmt.Sprintf("it is not on-link on %s (%s)", nic.Name, joinPrefixes(nic.Addrs)),
		Action: "correct the host's VPN server IPs in the NodePool, or select the NIC that reaches it",
	}
	for _, l := range inv.Links {
		for _, p := range l.Addrs {
			if p.Contains(server) {
				e.Reason += fmt.Sprintf(", but on %s (%s)", l.Name, p)
				return e
			}
		}
	}
	if onLink {
		return nil
	}
	return e
}

// judgeCIDRs returns the CIDRs, each once, and why others are refused.
func judgeCIDRs(inv Inventory, intent RouteIntent) (cidrs []netip.Prefix, refused []*FieldError) {
	for i, cidr := range intent.VPCCIDRs {
		if slices.Contains(cidrs, cidr) {
			continue
		}
		if e := refuseCIDR(inv, intent.VPNServers, cidr); e != nil {
			e.Field, e.Value = fmt.Sprintf("%s[%d]", FieldVPCCIDRs, i), cidr.String()
			e.Action = "correct the HybridCluster's VPC CIDRs, or the host's network"
			refused = append(refused, e)
			continue
		}
		cidrs = append(cidrs, cidr)
	}
	return cidrs, refused
}

func refuseCIDR(inv Inventory, servers []netip.Addr, cidr netip.Prefix) *FieldError {
	refuse := func(code, format string, args ...any) *FieldError {
		return &FieldError{Code: code, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case !cidr.IsValid():
		return refuse(VPCCIDRInvalid, "it is not a prefix")
	case !cidr.Addr().Is4():
		return refuse(VPCCIDRInvalid, "it is not IPv4, and an EKS cluster with hybrid nodes is IPv4 only")
	case cidr.Bits() == 0:
		return refuse(VPCCIDRInvalid, "it would take every destination")
	case cidr != cidr.Masked():
		return refuse(VPCCIDRInvalid, "it has host bits set (the network is %s)", cidr.Masked())
	case !isUnicast(cidr):
		return refuse(VPCCIDRInvalid, "it is not a unicast network")
	}
	// Also one that cannot be used now: that may change, and the CIDR would not.
	for _, s := range servers {
		if cidr.Contains(s) {
			return refuse(VPCCIDRCoversVPNServer, "it covers the VPN server %s, through which it is to be reached", s)
		}
	}
	for _, r := range inv.Routes {
		if r.IsDefault() && r.Gateway.IsValid() && cidr.Contains(r.Gateway) {
			return refuse(VPCCIDRCoversGateway, "it covers the default gateway %s", r.Gateway)
		}
	}
	if why := overlapsOnLink(inv, cidr); why != "" {
		return refuse(VPCCIDRCoversOwnSubnet, "%s", why)
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
