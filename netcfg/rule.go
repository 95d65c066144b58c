package netcfg

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Own says whether the rule carries OwnProtocol and a priority of ours, and nothing
// that we never write: then the Keeper may delete it.
func (r Rule) Own() bool { return r.Protocol == OwnProtocol && ownPriority(r.Priority) && !r.odd }

func ownPriority(p uint32) bool { return p >= ProbePriority && p < ProbePriority+MaxVPNServers }

// near says whether a foreign rule is worth telling: it has one of our priorities,
// leads into a probe table, or carries our protocol.
func (r Rule) near() bool {
	return !r.Own() && (ownPriority(r.Priority) || probeTable(r.Table) || r.Protocol == OwnProtocol)
}

// String renders the rule like `ip rule`.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d: fwmark %#x/%#x lookup %d proto %d", r.Priority, r.Mark, r.Mask, r.Table, r.Protocol)
	if r.odd {
		b.WriteString(" and more")
	}
	return b.String()
}

func compareRules(a, b Rule) int {
	return cmp.Or(
		cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Mark, b.Mark),
		cmp.Compare(a.Mask, b.Mask), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Protocol, b.Protocol),
	)
}

func sortRules(rs []Rule) []Rule {
	slices.SortFunc(rs, compareRules)
	return rs
}

// checkRules refuses what the Keeper could not own, or what would lead more than
// marked packets astray.
func checkRules(want []Rule) error {
	seen := make(map[Rule]bool, len(want))
	for _, r := range want {
		switch {
		case !r.Own():
			return fmt.Errorf("cannot set rule %s: not protocol %d with a priority from %d to %d",
				r, OwnProtocol, ProbePriority, ProbePriority+MaxVPNServers-1)
		case !probeTable(r.Table):
			return fmt.Errorf("cannot set rule %s: it leads to no probe table", r)
		case r.Mark == 0 || r.Mask == 0 || r.Mark&^r.Mask != 0:
			return fmt.Errorf("cannot set rule %s: it needs a mark within its mask", r)
		case seen[r]:
			return fmt.Errorf("cannot set rule %s: wanted twice", r)
		}
		seen[r] = true
	}
	return nil
}
