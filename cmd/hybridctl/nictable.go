package main

import (
	"fmt"
	"strings"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxAddresses is how many of a NIC's addresses its table shows; -o json has all.
const maxAddresses = 6

// nicTable lists the NICs of a host with why each could be chosen or not. It looks
// as `hybrid-agent nics` does on the host: a test holds both to one text.
func nicTable(nics []*agentv1.NIC) *table {
	t := &table{head: []string{"NIC", "CHOICE", "KIND", "ADDRESS"}}
	for _, n := range nics {
		choice := cell{text: "no"}
		switch {
		case n.GetSelected():
			choice = cell{text: "selected", style: styleGood}
		case n.GetCandidate():
			choice = cell{text: "possible"}
		}
		first := ""
		if len(n.GetAddresses()) > 0 {
			first = n.GetAddresses()[0]
		}
		t.add(text(n.GetName()), choice, text(n.GetKind()), text(first))
		t.note(strings.Join(n.GetReasons(), "; "), nicFacts(n))
	}
	return t
}

// nicFacts is what there is to know of a NIC besides the verdict.
func nicFacts(n *agentv1.NIC) string {
	var facts []string
	if n.GetMac() != "" {
		facts = append(facts, "MAC "+n.GetMac())
	}
	if n.GetMtu() > 0 {
		facts = append(facts, fmt.Sprintf("MTU %d", n.GetMtu()))
	}
	if len(n.GetAltnames()) > 0 {
		facts = append(facts, "also named "+strings.Join(n.GetAltnames(), ", "))
	}
	if all := n.GetAddresses(); len(all) > 1 {
		more := ""
		if len(all) > maxAddresses {
			more = fmt.Sprintf(" and %d more", len(all)-maxAddresses)
		}
		facts = append(facts, "further addresses "+strings.Join(all[1:min(len(all), maxAddresses)], ", ")+more)
	}
	return strings.Join(facts, "; ")
}
