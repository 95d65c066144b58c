package netcfg

import (
	"cmp"
	"net/netip"
	"slices"
)

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
	// Hold says that a node runs with Sticky.NodeIP, which is then the address that
	// kubelet was given, not merely the last one selected; the selector is that of
	// the node's own network, not of one that is to take its place. See SelectNIC.
	Hold bool
}

// Selection is the NIC to use and the node IP on it.
type Selection struct {
	Link   Link
	NodeIP netip.Addr
	// Prefix is the node IP with its prefix length, not masked.
	Prefix netip.Prefix
	// Reason says in a few words why this link was taken.
	Reason string

	former []string // names that it had before, for Remember
}

// SelectNIC picks the NIC and the node IP. Candidates come back in the order of
// the verdict: selected, accepted, rejected; each keeps its reasons. The error,
// if any, is a *SelectionError that names every candidate. It is pure, and the
// order of the inventory's links does not matter.
//
// Auto ranks the links; the one selected before stays while it can be used, also
// under a new name or without a carrier, unless another one alone has a VPN server
// on-link.
//
// With Hold, auto never moves to another NIC: a node whose address changes loses
// its kubelet's registration and every connection from the VPC, while a cable or
// a DHCP server that went away mostly comes back, and the plane is still reached
// over whatever link there is. So the choice follows the node IP to wherever the
// host's owner moved it (a bridge or bond over the NIC), takes a new address on
// the same NIC, and otherwise waits with an error. A host that is no node yet has
// nothing to lose and moves on.
func SelectNIC(inv Inventory, in SelectionInput) (Selection, []Candidate, error) {
	s := newSurvey(inv, in)
	cands := make([]Candidate, 0, len(s.inv.Links))
	for _, l := range s.inv.Links {
		cands = append(cands, s.judge(l))
	}
	noteSharedSubnets(cands)
	slices.SortStableFunc(cands, compareCandidates)
	i, err := s.choose(cands)
	if err != nil {
		return Selection{}, cands, err
	}
	moveToFront(cands, i)
	return s.finish(cands), cands, nil
}

// choose returns the candidate to take. The untyped error spares callers a nil
// pointer in an interface.
func (s *survey) choose(cands []Candidate) (int, error) {
	usable := cands[:countUsable(cands)]
	if s.in.Hold {
		if i := s.holding(usable); i >= 0 {
			return i, nil
		}
		if s.in.Selector.auto() && s.in.Sticky.hasLink() || slices.ContainsFunc(usable, s.isSticky) {
			return 0, s.refuseHeld(cands)
		}
	}
	if len(usable) == 0 {
		return 0, s.refuse(cands)
	}
	if i := slices.IndexFunc(usable, s.isSticky); i >= 0 && !farther(usable[i], usable[0]) {
		if i > 0 {
			usable[i].prepend("selected before and still valid")
		}
		return i, nil
	}
	if s.in.Selector.MAC != "" && s.in.Selector.Name == "" && len(usable) > 1 && usable[0].rank.same(usable[1].rank) {
		return 0, s.refuseAmbiguous(cands, usable)
	}
	return 0, nil
}

// farther says that no VPN server is on-link by the former link, but one is by
// another: no route could be planned over the former one. So it was when DHCP was
// slower on the right NIC at the first boot.
func farther(former, best Candidate) bool { return best.rank.vpnOnLink && !former.rank.vpnOnLink }

// holding finds the link that the node goes on with, or -1: the one with its
// address, the former one before others; else the former one with a new address.
// A single address beside no subnet is not taken for a new one: it is what
// keepalived and its like move about.
func (s *survey) holding(usable []Candidate) int {
	former := slices.IndexFunc(usable, s.isSticky)
	if former >= 0 && usable[former].NodeIP == s.in.Sticky.NodeIP {
		if former > 0 {
			usable[former].prepend("the node runs on it")
		}
		return former
	}
	if i := slices.IndexFunc(usable, func(c Candidate) bool { return c.NodeIP == s.in.Sticky.NodeIP }); i >= 0 {
		usable[i].prepend("carries the node's address " + s.in.Sticky.NodeIP.String())
		return i
	}
	known := s.in.Sticky.NodeIP.IsValid()
	if former < 0 || known && usable[former].single {
		return -1
	}
	if known {
		usable[former].prepend("selected before; the node's address " + s.in.Sticky.NodeIP.String() + " is gone from it")
	}
	return former
}

func (s *survey) isSticky(c Candidate) bool { return s.sticky != 0 && c.Link.Index == s.sticky }

func countUsable(cands []Candidate) int {
	n := slices.IndexFunc(cands, func(c Candidate) bool { return !c.Accepted || !c.meant })
	if n < 0 {
		return len(cands)
	}
	return n
}

func moveToFront(cands []Candidate, i int) {
	c := cands[i]
	copy(cands[1:i+1], cands[:i])
	cands[0] = c
}

func (s *survey) finish(cands []Candidate) Selection {
	best := &cands[0]
	best.Selected = true
	for i := 1; i < countUsable(cands); i++ {
		cands[i].Reasons = append(cands[i].Reasons, "ranked below "+best.Link.Name)
	}
	sel := Selection{Link: best.Link, NodeIP: best.NodeIP, Prefix: best.prefix, Reason: best.Reasons[0]}
	if s.isSticky(*best) {
		sel.former = s.in.Sticky.namesLost(best.Link)
	}
	return sel
}

// rank orders accepted candidates; see compare.
type rank struct {
	vpnOnLink, inCIDR, toward bool
	metric                    uint64
	index                     int
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

// same says that only metric and index tell two ranks apart: too little to choose
// between links that one MAC names.
func (r rank) same(o rank) bool {
	return r.vpnOnLink == o.vpnOnLink && r.inCIDR == o.inCIDR && r.toward == o.toward
}

func compareCandidates(a, b Candidate) int {
	if c := cmp.Or(boolFirst(a.Accepted, b.Accepted), boolFirst(a.meant, b.meant)); c != 0 || !a.Accepted {
		return cmp.Or(c, cmp.Compare(a.Link.Index, b.Link.Index))
	}
	return a.rank.compare(b.rank)
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
