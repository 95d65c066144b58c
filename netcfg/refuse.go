package netcfg

import "slices"

// refuse makes the error of a selection without an accepted candidate.
func refuse(in SelectionInput, cands []Candidate) *SelectionError {
	e := &SelectionError{Candidates: cands, Meant: meant(in, cands)}
	r := FieldError{Field: FieldNIC, Value: in.Selector.String(), Code: e.Meant.Code}
	switch {
	case r.Code == NICUnknown:
		r.Reason = "no link on this host has that " + in.Selector.what()
		r.Action = "set the host's NIC to one of the candidates, or to auto"
	case r.Code == OutsideRemoteNodeCIDRs:
		r.Reason = "no address inside the remote node CIDRs " + joinPrefixes(in.RemoteNodeCIDRs)
		r.Action = "give the NIC an address inside them, select another NIC, or correct the HybridCluster's remote node CIDRs"
	case in.Selector.auto():
		r.Reason = "no link is usable"
		r.Action = "bring a NIC up with an IPv4 address, or name the host's NIC"
	default:
		r.Reason = "the link is not usable"
		r.Action = "correct the link, or set the host's NIC to another candidate"
	}
	e.Refusal = r
	return e
}

// meant finds the candidate that a refusal speaks of.
func meant(in SelectionInput, cands []Candidate) Candidate {
	best := Candidate{Link: Link{Name: in.Selector.Name, MAC: in.Selector.MAC}, Code: NICUnknown, Reasons: []string{"is not on this host"}}
	if in.Selector.auto() {
		best = Candidate{Code: NICUnusable, Reasons: []string{"the host has no NIC"}}
	}
	for _, c := range cands {
		if c.Code != NICNotMeant && (c.Code != NICUnusable || !in.Selector.auto()) && lacks(c.Code) < lacks(best.Code) {
			best = c
		}
	}
	return best
}

// lacks orders what is wrong with a link by how much it takes to mend it.
func lacks(code string) int {
	order := []string{OutsideRemoteNodeCIDRs, NICNoAddress, NICNoCarrier, NICDown, NICEnslaved, NICUnusable}
	if i := slices.Index(order, code); i >= 0 {
		return i
	}
	return len(order)
}
