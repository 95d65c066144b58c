package netcfg

import (
	"fmt"
	"math"
)

// judge gives the verdict on one link, without looking at the others' verdicts.
func (s *survey) judge(l Link) Candidate {
	c := Candidate{Link: l, meant: s.means(l)}
	if how, ok := s.wanted[l.Index]; ok {
		c.Reasons = []string{how}
	} else if !c.meant {
		c.Reasons = []string{"is not " + s.in.Selector.String()}
	}
	if code, why := s.rejectLink(l); code != "" {
		c.reject(code, "%s", why)
		return drop(c)
	}
	choice, code, why := s.nodeAddress(l)
	if code != "" {
		c.reject(code, "%s", why)
		return drop(c)
	}
	c.Accepted, c.NodeIP, c.prefix, c.single = true, choice.prefix.Addr(), choice.prefix, choice.class == classSingle
	s.rankLink(&c, choice)
	return c
}

// drop leaves out by what name a rejected link was meant: that says nothing of why
// it was rejected.
func drop(c Candidate) Candidate {
	if c.meant {
		c.Reasons = c.Reasons[len(c.Reasons)-1:]
	}
	return c
}

// rejectLink holds the checks that need no address; code is "" where it passes.
func (s *survey) rejectLink(l Link) (code, why string) {
	if l.Loopback {
		return NICUnusable, "is the loopback"
	}
	if l.MasterIndex != 0 {
		return s.rejectPort(l)
	}
	// A name means one link and nothing else; a MAC may be that of several.
	if _, wanted := s.wanted[l.Index]; !wanted || len(s.wanted) > 1 {
		if why := notForAuto(s.inv, l); why != "" && !s.bereft(l) {
			return NICUnusable, why
		}
	}
	switch {
	case !l.Up:
		return NICDown, "is down"
	case !l.Carrier && (l.Index != s.sticky || len(l.Addrs) == 0):
		// A link that was selected before is kept through a pulled cable while it
		// has its address: changing the node IP would be worse.
		return NICNoCarrier, "has no carrier"
	}
	return "", ""
}

// bereft tells a nested host's own NIC, which is a veth, from a container's while
// its address is away: it was selected before.
func (s *survey) bereft(l Link) bool {
	return l.Index == s.sticky && l.Kind == "veth" && !hasGlobal(l)
}

// rejectPort says why a link with a master cannot carry the node IP.
func (s *survey) rejectPort(l Link) (code, why string) {
	master, ok := s.inv.LinkByIndex(l.MasterIndex)
	switch {
	case !ok:
		return NICEnslaved, "is enslaved"
	case master.Kind == "vrf":
		return NICUnusable, fmt.Sprintf("belongs to the VRF %s, whose routes are not in the main table", master.Name)
	}
	return NICEnslaved, "is enslaved to " + master.Name
}

// rankLink fills rank and reasons of a usable candidate.
func (s *survey) rankLink(c *Candidate, choice address) {
	c.rank = rank{vpnOnLink: choice.server.IsValid(), metric: math.MaxUint64, index: c.Link.Index}
	say := func(format string, args ...any) { c.Reasons = append(c.Reasons, fmt.Sprintf(format, args...)) }
	if c.rank.vpnOnLink {
		say("VPN server %s is on-link", choice.server)
	} else if len(s.in.VPNServers) > 0 {
		say("no VPN server is on-link")
	}
	for _, cidr := range s.in.RemoteNodeCIDRs {
		if cidr.Contains(c.NodeIP) {
			c.rank.inCIDR = true
			say("%s is inside the remote node CIDR %s", c.NodeIP, cidr)
			break
		}
	}
	for i, link := range s.toward {
		if link == c.Link.Index {
			c.rank.toward = true
			say("the route towards %s leaves by it", s.in.Toward[i])
			break
		}
	}
	if m := c.Link.DefaultRouteMetric; m != nil {
		c.rank.metric = uint64(*m)
		say("default route with metric %d", *m)
	} else {
		say("no default route")
	}
	if !c.Link.Carrier {
		say("has no carrier")
	}
	if choice.over != "" {
		say("passes over %s", choice.over)
	}
	if s.isSticky(*c) && s.in.Sticky.Name != "" && !c.Link.HasName(s.in.Sticky.Name) {
		say("selected before as %s", s.in.Sticky.Name)
	}
}

// noteSharedSubnets tells where two usable NICs are in one subnet: the kernel then
// answers for either address on both, and replies leave by the first route.
func noteSharedSubnets(cands []Candidate) {
	for i := range cands {
		for j := range cands {
			if i != j && cands[i].Accepted && cands[j].Accepted && !cands[i].single && cands[i].prefix.Masked() == cands[j].prefix.Masked() {
				cands[i].Reasons = append(cands[i].Reasons, fmt.Sprintf("shares the subnet %s with %s", cands[i].prefix.Masked(), cands[j].Link.Name))
				break
			}
		}
	}
}
