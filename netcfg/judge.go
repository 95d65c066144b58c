package netcfg

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// judge gives the verdict on one link, without looking at the others.
func judge(inv Inventory, in SelectionInput, l Link) Candidate {
	c := Candidate{Link: l}
	if code, why := rejectLink(inv, in, l); code != "" {
		c.Code, c.Reasons = code, []string{why}
		return c
	}
	globals := slices.DeleteFunc(slices.Clone(l.Addrs), func(p netip.Prefix) bool { return !isGlobal(p.Addr()) })
	if len(globals) == 0 {
		c.Code, c.Reasons = NICNoAddress, []string{"has no global unicast IPv4 address"}
		return c
	}
	inside := slices.DeleteFunc(slices.Clone(globals), func(p netip.Prefix) bool {
		return len(in.RemoteNodeCIDRs) > 0 && !containedIn(in.RemoteNodeCIDRs, p.Addr())
	})
	if len(inside) == 0 {
		c.Code = OutsideRemoteNodeCIDRs
		c.Reasons = []string{fmt.Sprintf("has %s, outside the remote node CIDRs %s", joinPrefixes(globals), joinPrefixes(in.RemoteNodeCIDRs))}
		return c
	}
	c.Accepted = true
	accept(inv, in, inside, &c)
	return c
}

// rejectLink holds the checks that need no address; code is "" where it passes.
func rejectLink(inv Inventory, in SelectionInput, l Link) (code, why string) {
	switch {
	case !in.Selector.auto() && !in.Selector.matches(l):
		return NICNotMeant, "is not " + in.Selector.String()
	case l.Loopback:
		return NICUnusable, "is the loopback"
	case !l.Up:
		return NICDown, "is down"
	case !l.Carrier && !l.HasName(in.Sticky.Name):
		// A link that was selected before is kept through a pulled cable:
		// changing the node IP of a running node would be worse.
		return NICNoCarrier, "has no carrier"
	}
	if l.MasterIndex != 0 {
		master, _ := inv.LinkByIndex(l.MasterIndex)
		return NICEnslaved, strings.TrimSpace("is enslaved to " + master.Name)
	}
	if !in.Selector.auto() {
		return "", ""
	}
	if why := notForAuto(inv, l); why != "" {
		return NICUnusable, why
	}
	return "", ""
}

// accept fills node IP, rank and reasons of a usable candidate.
func accept(inv Inventory, in SelectionInput, usable []netip.Prefix, c *Candidate) {
	c.NodeIP = usable[0].Addr()
	c.rank = rank{metric: math.MaxUint64, index: c.Link.Index}
	if p, server, ok := onLinkServer(usable, in.VPNServers); ok {
		c.NodeIP, c.rank.vpnOnLink = p.Addr(), true
		c.Reasons = append(c.Reasons, fmt.Sprintf("VPN server %s is on-link", server))
	} else if len(in.VPNServers) > 0 {
		c.Reasons = append(c.Reasons, "no VPN server is on-link")
	}
	for _, cidr := range in.RemoteNodeCIDRs {
		if cidr.Contains(c.NodeIP) {
			c.rank.inCIDR = true
			c.Reasons = append(c.Reasons, fmt.Sprintf("%s is inside the remote node CIDR %s", c.NodeIP, cidr))
			break
		}
	}
	for _, a := range in.Toward {
		if r, ok := inv.RouteTo(a); ok && r.LinkIndex == c.Link.Index {
			c.rank.toward = true
			c.Reasons = append(c.Reasons, fmt.Sprintf("the route towards %s leaves by it", a))
			break
		}
	}
	if m := c.Link.DefaultRouteMetric; m != nil {
		c.rank.metric = uint64(*m)
		c.Reasons = append(c.Reasons, fmt.Sprintf("default route with metric %d", *m))
	} else {
		c.Reasons = append(c.Reasons, "no default route")
	}
	if !c.Link.Carrier {
		c.Reasons = append(c.Reasons, "has no carrier")
	}
	if !in.Selector.auto() {
		c.Reasons = append([]string{"named by " + in.Selector.String()}, c.Reasons...)
	}
}

func onLinkServer(addrs []netip.Prefix, servers []netip.Addr) (netip.Prefix, netip.Addr, bool) {
	for _, s := range servers {
		for _, p := range addrs {
			if p.Contains(s) && p.Addr() != s {
				return p, s, true
			}
		}
	}
	return netip.Prefix{}, netip.Addr{}, false
}

// matches says whether the link is the one that a name or MAC selector names.
func (s Selector) matches(l Link) bool {
	if s.Name != "" {
		return l.HasName(s.Name)
	}
	return s.MAC != "" && strings.EqualFold(l.MAC, strings.ReplaceAll(s.MAC, "-", ":"))
}

func containedIn(cidrs []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(cidrs, func(p netip.Prefix) bool { return p.Contains(a) })
}
