package netcfg

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// refuse makes the error of a selection without a link that can be used.
func (s *survey) refuse(cands []Candidate) *SelectionError {
	m := s.missed(cands)
	r := FieldError{Field: FieldNIC, Value: s.in.Selector.String(), Code: m.Code}
	switch {
	case m.Code == NICUnknown:
		r.Reason = "no link on this host has that " + s.in.Selector.what()
	case m.Code == NICGone:
		r.Reason = fmt.Sprintf("the link %s %s", m.Link.Name, m.Reasons[0])
	case m.Code == OutsideRemoteNodeCIDRs:
		r.Reason = "no address inside the remote node CIDRs " + joinPrefixes(s.in.RemoteNodeCIDRs)
	case m.Link.Name == "":
		r.Reason = "no link is usable"
	case s.in.Selector.auto():
		r.Reason = fmt.Sprintf("no link is usable: %s %s", m.Link.Name, m.Reasons[0])
	case s.in.Selector.MAC != "":
		r.Reason = fmt.Sprintf("the link %s %s", m.Link.Name, m.Reasons[0])
	default:
		r.Reason = "the link " + m.Reasons[0]
	}
	r.Action = s.remedy(m, cands)
	return &SelectionError{Refusal: r, Candidates: cands, Meant: m}
}

// refuseHeld makes the error of a running node whose NIC cannot be used now.
func (s *survey) refuseHeld(cands []Candidate) *SelectionError {
	if i := slices.IndexFunc(cands, s.isSticky); i >= 0 && cands[i].Accepted {
		c := &cands[i]
		c.Accepted, c.NodeIP, c.Reasons = false, netip.Addr{}, nil
		c.reject(NICNoAddress, "has only %s, which has no subnet and may be a virtual address", c.prefix)
		slices.SortStableFunc(cands, compareCandidates)
	}
	m := s.former(cands)
	on, ip := m.Link.Name, s.in.Sticky.NodeIP
	r := FieldError{Field: FieldNIC, Value: s.in.Selector.String(), Code: m.Code}
	with := ""
	if ip.IsValid() {
		with = " with " + ip.String()
	}
	r.Reason = fmt.Sprintf("the node runs%s on %s, which %s", with, on, m.Reasons[0])
	r.Action = s.remedy(m, nil) + "; to move the node to another NIC, name it for the host and repave"
	for i := range cands {
		if cands[i].Accepted && cands[i].meant {
			cands[i].prepend("not taken, since the node runs on " + on)
		}
	}
	return &SelectionError{Refusal: r, Candidates: cands, Meant: m}
}

// refuseAmbiguous makes the error of a MAC that several usable links have.
func (s *survey) refuseAmbiguous(cands, usable []Candidate) *SelectionError {
	var names []string
	for _, c := range usable {
		names = append(names, c.Link.Name)
	}
	r := FieldError{
		Field: FieldNIC, Value: s.in.Selector.String(), Code: NICAmbiguous,
		Reason: fmt.Sprintf("%s all have that MAC address and can be used", strings.Join(names, ", ")),
		Action: "set the host's NIC to the name of one of them",
	}
	return &SelectionError{Refusal: r, Candidates: cands, Meant: usable[0]}
}

// missed finds the candidate that ought to have been selected: of those that are
// meant the former one, else the one that lacks least.
func (s *survey) missed(cands []Candidate) Candidate {
	best := Candidate{Link: Link{Name: s.in.Selector.Name, MAC: s.in.Selector.MAC}, Code: NICUnknown, Reasons: []string{"is not on this host"}}
	switch auto := s.in.Selector.auto(); {
	case auto:
		best = Candidate{Code: NICUnusable, Reasons: []string{"the host has no NIC"}}
	case s.in.Sticky.answersTo(s.in.Selector.Name) || s.in.Selector.Name == "" && normalMAC(s.in.Selector.MAC) == s.in.Sticky.MAC:
		best = s.gone()
	}
	for _, c := range cands {
		switch {
		case !c.meant || s.in.Selector.auto() && (c.Code == NICUnusable || c.Code == NICEnslaved):
		case s.isSticky(c):
			return c
		case lacks(c.Code) < lacks(best.Code):
			best = c
		}
	}
	return best
}

// former finds the link that was selected before, or makes one of what is
// remembered of it.
func (s *survey) former(cands []Candidate) Candidate {
	if i := slices.IndexFunc(cands, s.isSticky); i >= 0 {
		return cands[i]
	}
	return s.gone()
}

// gone stands for the remembered link when it is not on the host.
func (s *survey) gone() Candidate {
	r := s.in.Sticky
	name := r.Name
	if name == "" {
		name = r.MAC
	}
	return Candidate{
		Link: Link{Name: name, AltNames: r.AltNames, MAC: r.MAC, Kind: r.Kind},
		Code: NICGone, Reasons: []string{"is not on this host at the moment"},
	}
}

// lacks orders what is wrong with a link by how much it takes to mend it.
func lacks(code string) int {
	order := []string{OutsideRemoteNodeCIDRs, NICNoAddress, NICNoCarrier, NICDown, NICEnslaved, NICUnusable}
	if i := slices.Index(order, code); i >= 0 {
		return i
	}
	return len(order)
}

// remedy is the next action for an operator.
func (s *survey) remedy(m Candidate, cands []Candidate) string {
	name := m.Link.Name
	switch m.Code {
	case OutsideRemoteNodeCIDRs:
		if s.in.Hold {
			return "give the NIC its former address or another inside them, or correct the HybridCluster's remote node CIDRs"
		}
		return "give the NIC an address inside them, select another NIC, or correct the HybridCluster's remote node CIDRs"
	case NICUnknown:
		return "set the host's NIC to one of the candidates, or to auto"
	case NICDown:
		return fmt.Sprintf("bring %s up with an IPv4 address", name) + s.orAnother()
	case NICNoCarrier:
		return fmt.Sprintf("check the cable of %s and the switch at its other end", name) + s.orAnother()
	case NICNoAddress:
		return fmt.Sprintf("give %s an IPv4 address: look at its DHCP server or static address", name) + s.orAnother()
	case NICGone:
		return "look whether the card is seated and its driver loaded (ip link, dmesg)"
	case NICEnslaved:
		up := s.inv.upper(m.Link)
		if slices.ContainsFunc(cands, func(c Candidate) bool { return c.Accepted && c.Link.Index == up.Index }) {
			return "set the host's NIC to " + up.Name
		}
		return "set the host's NIC to the link that carries its address"
	}
	if s.in.Selector.auto() {
		return "bring a NIC up with an IPv4 address, or name the host's NIC"
	}
	return "set the host's NIC to another candidate, or to auto"
}

// orAnother ends an action that may be in vain.
func (s *survey) orAnother() string {
	switch {
	case s.in.Hold:
		return ""
	case s.in.Selector.auto():
		return ", or name the host's NIC"
	}
	return ", or set the host's NIC to another candidate"
}
