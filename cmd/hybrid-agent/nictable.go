package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxAddresses is how many of a NIC's addresses its table shows; -o json has all.
const maxAddresses = 6

// writeNICs prints the interfaces with why each could be chosen or not. It looks as
// `hybridctl get nics` does for this host: a test holds both to one text.
func writeNICs(w io.Writer, p painter, nics []*agentv1.NIC) {
	rows := [][]string{{"NIC", "CHOICE", "KIND", "ADDRESS"}}
	for _, n := range nics {
		rows = append(rows, nicRow(n))
	}
	wide := make([]int, len(rows[0])-1)
	for _, row := range rows {
		for i := range wide {
			wide[i] = max(wide[i], utf8.RuneCountInString(row[i]))
		}
	}
	for i, row := range rows {
		for at, cell := range row[:len(wide)] {
			pad := strings.Repeat(" ", wide[at]-utf8.RuneCountInString(cell)+2)
			if cell == "selected" && at == 1 {
				cell = p.good(cell)
			}
			_, _ = fmt.Fprint(w, cell, pad)
		}
		_, _ = fmt.Fprintln(w, row[len(wide)])
		if i > 0 {
			writeNICNotes(w, p, nics[i-1])
		}
	}
}

func nicRow(n *agentv1.NIC) []string {
	choice := "no"
	switch {
	case n.GetSelected():
		choice = "selected"
	case n.GetCandidate():
		choice = "possible"
	}
	address := "-"
	if len(n.GetAddresses()) > 0 {
		address = n.GetAddresses()[0]
	}
	return []string{printable(n.GetName()), choice, printable(n.GetKind()), address}
}

// writeNICNotes puts the reasons below a row, then what else is known.
func writeNICNotes(w io.Writer, p painter, n *agentv1.NIC) {
	for _, line := range wrap(printable(strings.Join(n.GetReasons(), "; ")), width-2) {
		_, _ = fmt.Fprintf(w, "  %s\n", line)
	}
	for _, line := range wrap(printable(nicFacts(n)), width-2) {
		_, _ = fmt.Fprintf(w, "  %s\n", p.dim(line))
	}
}

// nicFacts is what there is to know of an interface besides the verdict.
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

// printable drops control characters: the kernel takes any but white space and a
// slash in a name, and none of them must steer the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}
