package netcfg

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// addressClass orders the addresses of one link by how fit they are for a node IP.
type addressClass int

const (
	// classSubnet: the usual one, with a subnet of its own or a peer. Secondary
	// addresses are among them; the kernel lists them behind the primary ones, and
	// which is which changes when an address is removed and comes back.
	classSubnet addressClass = iota
	// classSingle: a /32. It may be all that a provider gives; beside another it is
	// a virtual address that keepalived or kube-vip moves between hosts.
	classSingle
	// classDeprecated: its preferred lifetime is over (IFA_F_DEPRECATED), as of a
	// DHCP lease that runs out.
	classDeprecated
)

// address is a usable address of a link.
type address struct {
	prefix netip.Prefix
	class  addressClass
	// server is the first VPN server that is on-link by it, and its place.
	server netip.Addr
	place  int
	// over names the addresses that were passed over for it, with why.
	over string
}

// nodeAddress picks the link's address for a node IP, or says why there is none.
// IPv4 has no duplicate address detection in the kernel, so none is tentative.
func (s *survey) nodeAddress(l Link) (best address, code, why string) {
	var inside []address
	var outside []netip.Prefix
	for _, p := range l.Addrs {
		switch {
		case !isGlobal(p.Addr()) || l.Info(p.Addr()).Scope >= ScopeLink:
		case len(s.in.RemoteNodeCIDRs) > 0 && !containedIn(s.in.RemoteNodeCIDRs, p.Addr()):
			outside = append(outside, p)
		default:
			inside = append(inside, s.appraise(l, p))
		}
	}
	if len(inside) == 0 && len(outside) == 0 {
		return address{}, NICNoAddress, "has no global unicast IPv4 address"
	}
	if len(inside) == 0 {
		return address{}, OutsideRemoteNodeCIDRs, fmt.Sprintf("has %s, outside the remote node CIDRs %s", joinPrefixes(outside), joinPrefixes(s.in.RemoteNodeCIDRs))
	}
	slices.SortStableFunc(inside, func(a, b address) int { return s.compareAddresses(l, a, b) })
	best = inside[0]
	best.over = passedOver(inside[1:], best.class)
	return best, "", ""
}

func (s *survey) appraise(l Link, p netip.Prefix) address {
	a := address{prefix: p, class: classSubnet, place: len(s.in.VPNServers)}
	info := l.Info(p.Addr())
	switch {
	case info.Deprecated:
		a.class = classDeprecated
	case p.Bits() == 32 && !info.Peer.IsValid():
		a.class = classSingle
	}
	for i, server := range s.in.VPNServers {
		if p.Addr() != server && (p.Contains(server) || onLinkByRoute(s.inv, l, server)) {
			a.server, a.place = server, i
			break
		}
	}
	return a
}

// compareAddresses puts the better address of a link first. On the link that was
// selected before, the remembered one wins among its like; that of a running node
// wins always and everywhere.
func (s *survey) compareAddresses(l Link, a, b address) int {
	former := boolFirst(a.prefix.Addr() == s.in.Sticky.NodeIP, b.prefix.Addr() == s.in.Sticky.NodeIP)
	first, last := 0, 0
	switch {
	case s.in.Hold:
		first = former
	case l.Index == s.sticky:
		last = former
	}
	return cmp.Or(first, cmp.Compare(a.place, b.place), cmp.Compare(a.class, b.class), last)
}

// passedOver names the addresses that are less fit than the chosen one, with why.
func passedOver(rest []address, than addressClass) string {
	var single, deprecated []netip.Prefix
	for _, a := range rest {
		switch {
		case a.class <= than:
		case a.class == classSingle:
			single = append(single, a.prefix)
		default:
			deprecated = append(deprecated, a.prefix)
		}
	}
	var parts []string
	if len(single) > 0 {
		parts = append(parts, joinPrefixes(single)+" (no subnet)")
	}
	if len(deprecated) > 0 {
		parts = append(parts, joinPrefixes(deprecated)+" (deprecated)")
	}
	return strings.Join(parts, ", ")
}

func containedIn(cidrs []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(cidrs, func(p netip.Prefix) bool { return p.Contains(a) })
}
