package netcfg

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"syscall"
)

// mine says whether a route with our protocol is ours: wanted now, wanted before,
// or in the record of a former run. Before the first Set there is no record, and
// nothing is written.
func (m *model) mine(r Route) bool {
	if !m.managing {
		return true
	}
	key := r.key()
	_, wanted := m.want[key]
	return wanted || m.former[key]
}

// wants says whether what a repair was about is still wanted.
func (m *model) wants(i item) bool {
	if i.rule != (Rule{}) {
		return slices.Contains(m.wantRules, i.rule)
	}
	_, ok := m.want[i.route]
	return ok
}

// installed are ours. Wanted ones come in the order of Set, which is sorted as a
// rule: that spares sorting many.
func (m *model) installed() []Route {
	list := make([]Route, 0, len(m.wanted))
	for _, w := range m.wanted {
		if m.have.has(w) {
			list = append(list, w)
		}
	}
	if len(list) == len(m.have.first) && len(m.have.more) == 0 {
		return sortRoutes(list)
	}
	for r := range m.have.all() {
		if m.mine(r) && m.want[r.key()] != r {
			list = append(list, r)
		}
	}
	return sortRoutes(list)
}

// unrecorded carry our protocol and are not ours.
func (m *model) unrecorded() []Route {
	var list []Route
	for r := range m.have.all() {
		if !m.mine(r) {
			list = append(list, r)
		}
	}
	return sortRoutes(list)
}

func (m *model) foreignList() []Route { return sortRoutes(slices.Collect(maps.Keys(m.foreign))) }

func (m *model) ownRules() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for r := range m.rules {
			if r.Own() && !yield(r) {
				return
			}
		}
	}
}

func (m *model) ruleLists() Rules {
	var lists Rules
	for r := range m.rules {
		if r.Own() {
			lists.Installed = append(lists.Installed, r)
		} else {
			lists.Foreign = append(lists.Foreign, r)
		}
	}
	for _, r := range m.wantRules {
		if err, missing := m.missingRules[r]; missing {
			lists.Missing = append(lists.Missing, RuleFailure{Rule: r, Err: explainRule(r, err)})
		}
	}
	sortRules(lists.Installed)
	sortRules(lists.Foreign)
	return lists
}

// missingList is sorted by destination.
func (m *model) missingList() []RouteFailure {
	list := make([]RouteFailure, 0, len(m.missing))
	for key, err := range m.missing {
		if r, ok := m.want[key]; ok {
			f := RouteFailure{Route: r, Err: m.explain(r, err)}
			if holder, held := m.holder(r); held && isForeignConflict(err) {
				f.Rival = protocolName(holder.Protocol)
			}
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b RouteFailure) int { return compareRoutes(a.Route, b.Route) })
	return list
}

// settled says whether everything wanted is there as wanted.
func (m *model) settled() bool {
	for _, r := range m.wanted {
		if !m.have.has(r) {
			return false
		}
	}
	return !slices.ContainsFunc(m.wantRules, func(r Rule) bool { return !m.rules[r] })
}

// holder is the foreign route that has a wanted one's key.
func (m *model) holder(r Route) (Route, bool) {
	for f := range m.foreign {
		if f.key() == r.key() {
			return f, true
		}
	}
	return Route{}, false
}

// explain gives a failure its context and the operator's next step.
func (m *model) explain(r Route, err error) error {
	switch {
	case errors.Is(err, syscall.EEXIST):
		if f, ok := m.holder(r); ok {
			return fmt.Errorf("cannot install route %s: the foreign route %s (%s) holds it: %w; remove that one, or give it a metric",
				r, f, protocolName(f.Protocol), err)
		}
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("cannot install route %s: %w; run with CAP_NET_ADMIN", r, err)
	case waitsForLink(err):
		return fmt.Errorf("cannot install route %s: its link is down or gone, or has lost its address: %w; it is installed when that returns", r, err)
	}
	return fmt.Errorf("cannot install route %s: %w", r, err)
}

// waitsForLink says whether a link or address event will tell when to try again.
func waitsForLink(err error) bool {
	return errors.Is(err, syscall.ENETDOWN) || errors.Is(err, syscall.ENODEV) ||
		errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EINVAL)
}

func explainRule(r Rule, err error) error {
	switch {
	case errors.Is(err, syscall.EEXIST):
		return fmt.Errorf("cannot install rule %s: another one with the same selector holds it: %w; remove that one", r, err)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("cannot install rule %s: %w; run with CAP_NET_ADMIN", r, err)
	}
	return fmt.Errorf("cannot install rule %s: %w", r, err)
}
