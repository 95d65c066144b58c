package netcfg

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// writer is the kernel as the Keeper writes to it: one verdict per route or rule.
type writer interface {
	writeRoutes(kind, flags uint16, routes []Route) []error
	writeRules(kind, flags uint16, rules []Rule) []error
}

// diff is what is to be written now.
func (m *model) diff() Changes {
	c := diffRoutes(m.wanted, m.want, m.former, m.have, m.blocked())
	c.AddRules, c.DelRules = diffRules(m.wantRules, m.ownRules())
	return c
}

// apply writes the changes in their order and keeps the books. What fails is among
// the missing; failures are those of deletions. A route is kept while a wanted one
// for the same destination failed, and while a rule still leads into its table.
func (m *model) apply(w writer, c Changes) (done Achieved, failures []error) {
	add := c.Add
	for i, err := range w.writeRoutes(rtmNewRoute, flagReplace, c.Replace) {
		r := c.Replace[i]
		if errors.Is(err, syscall.ENOENT) {
			add = append(slices.Clip(add), r) // gone meanwhile
			continue
		}
		if m.outcome(r, err) {
			m.swapped(r)
			done.Replaced++
		}
	}
	for i, err := range w.writeRoutes(rtmNewRoute, flagCreate|flagExcl, add) {
		if m.outcome(add[i], err) {
			m.have.add(add[i])
			done.Added++
		}
	}
	for i, err := range w.writeRules(rtmNewRule, flagCreate|flagExcl, c.AddRules) {
		if m.ruleOutcome(c.AddRules[i], err) {
			done.Added++
		}
	}
	for i, err := range w.writeRules(rtmDelRule, 0, c.DelRules) {
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			failures = append(failures, fmt.Errorf("cannot remove rule %s: %w", c.DelRules[i], err))
			continue
		}
		delete(m.rules, c.DelRules[i])
		done.Deleted++
	}
	del := slices.DeleteFunc(slices.Clone(c.Del), m.heldBack())
	for i, err := range w.writeRoutes(rtmDelRoute, 0, m.deletable(del)) {
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			failures = append(failures, fmt.Errorf("cannot remove route %s: %w", del[i], err))
			continue
		}
		m.have.remove(del[i])
		done.Deleted++
	}
	return done, failures
}

// heldBack gives the test for routes of ours that stay although they are not
// wanted.
func (m *model) heldBack() func(Route) bool {
	failed := make(map[routeKey]bool, len(m.missing))
	for key := range m.missing {
		key.metric, key.tos = 0, 0
		failed[key] = true
	}
	led := make(map[int]bool)
	for rule := range m.rules {
		led[rule.Table] = led[rule.Table] || rule.Own() && !slices.Contains(m.wantRules, rule)
	}
	return func(r Route) bool { return failed[r.place()] || led[r.Table] }
}

// deletable makes delete requests of routes. One with more to it than Route can
// tell is matched by its key and protocol alone: the kernel refuses to compare the
// hop of a nexthop object.
func (m *model) deletable(routes []Route) []Route {
	out := slices.Clone(routes)
	for i, r := range out {
		if _, wanted := m.want[r.key()]; r.odd && !wanted {
			out[i] = Route{Dst: r.Dst, Table: r.Table, Metric: r.Metric, TOS: r.TOS, Protocol: r.Protocol, Type: r.Type, Scope: scopeNowhere}
		}
	}
	return out
}

// outcome keeps the books on one write and says whether it succeeded.
func (m *model) outcome(r Route, err error) bool {
	if err != nil {
		m.missing[r.key()] = err
		return false
	}
	delete(m.missing, r.key())
	return true
}

func (m *model) ruleOutcome(r Rule, err error) bool {
	if err != nil {
		m.missingRules[r] = err
		return false
	}
	delete(m.missingRules, r)
	m.rules[r] = true
	return true
}

// swapped notes that r took the place of the route with its key. Where several
// had the key, the kernel swapped one of them: a reading tells which.
func (m *model) swapped(r Route) {
	m.have.set(r)
}

// blocked are the keys of wanted routes that a foreign route holds: replacing ours
// could hit that one.
func (m *model) blocked() map[routeKey]bool {
	blocked := make(map[routeKey]bool, len(m.foreign))
	for f := range m.foreign {
		blocked[f.key()] = true
	}
	return blocked
}
