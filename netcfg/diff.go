package netcfg

import (
	"iter"
	"slices"
)

// Changes is what to write so that the kernel holds what is wanted, in the order
// in which its fields are written: no destination goes without a route meanwhile,
// a rule never leads into a table that is still to be filled, and none into one
// that was emptied.
type Changes struct {
	// Replace are routes whose key we hold with other attributes: the kernel swaps
	// them in one step.
	Replace []Route
	// Add are routes whose key nothing of ours has.
	Add []Route
	// AddRules and DelRules are rules; the kernel cannot replace one, but holds the
	// new beside the old.
	AddRules, DelRules []Rule
	// Del are routes of ours that are not wanted.
	Del []Route
}

// Empty says that there is nothing to write.
func (c Changes) Empty() bool {
	return len(c.Replace)+len(c.Add)+len(c.AddRules)+len(c.DelRules)+len(c.Del) == 0
}

// Diff compares what is wanted with the routes and rules in the kernel.
//
// Whatever is not ours is ignored, even where it holds a wanted key: adding ours
// then fails with EEXIST, and the foreign one stays. Ours is a route with
// OwnProtocol in one of our tables that is wanted or among desired.Former, and a
// rule with OwnProtocol and a priority of ours. Wanted ones that are not ours, or
// repeat a key, are ignored as well. The results are sorted and share no memory
// with the arguments.
func Diff(desired Desired, have []Route, rules []Rule) Changes {
	want := make(map[routeKey]Route, len(desired.Routes))
	list := make([]Route, 0, len(desired.Routes))
	for _, r := range desired.Routes {
		if _, twice := want[r.key()]; r.Own() && !twice {
			want[r.key()] = r
			list = append(list, r)
		}
	}
	former := make(map[routeKey]bool, len(desired.Former))
	for _, id := range desired.Former {
		former[id.key()] = true
	}
	held, blocked := newRouteSet(len(have)), make(map[routeKey]bool)
	for _, r := range have {
		if r.Own() {
			held.add(r)
		} else {
			blocked[r.key()] = true
		}
	}
	c := diffRoutes(list, want, former, held, blocked)
	c.AddRules, c.DelRules = diffRules(desired.Rules, slices.Values(rules))
	return c
}

// diffRoutes is Diff for routes: list and want are the same ones, have are those
// with our protocol, blocked the keys that foreign routes hold. A blocked one is
// added, which the kernel refuses: replacing could hit the foreign route.
func diffRoutes(list []Route, want map[routeKey]Route, former map[routeKey]bool, have routeSet, blocked map[routeKey]bool) Changes {
	var c Changes
	for _, w := range list {
		first, exists := have.first[w.key()]
		switch {
		case !exists:
			c.Add = append(c.Add, w)
		case first == w || have.has(w):
		case blocked[w.key()]:
			c.Add = append(c.Add, w)
		default:
			c.Replace = append(c.Replace, w)
		}
	}
	for key, r := range have.first {
		if w, wanted := want[key]; wanted {
			c.Del = append(c.Del, twins(w, r, have)...)
		} else if former[key] {
			c.Del = append(append(c.Del, r), have.more[key]...)
		}
	}
	sortRoutes(c.Add)
	sortRoutes(c.Replace)
	sortRoutes(c.Del)
	return c
}

// twins are the routes beside the wanted one under its key. Where none is as
// wanted, one of them is replaced first: which one is the kernel's choice, so the
// rest goes when it is known. An odd one stays: a request for what is known of it
// could hit the wanted one as well.
func twins(w, first Route, have routeSet) []Route {
	if len(have.more) == 0 || !have.has(w) {
		return nil
	}
	var extra []Route
	for _, r := range append([]Route{first}, have.more[w.key()]...) {
		if r != w && !r.odd {
			extra = append(extra, r)
		}
	}
	return extra
}

// diffRules is Diff for rules.
func diffRules(want []Rule, have iter.Seq[Rule]) (add, del []Rule) {
	wanted := make(map[Rule]bool, len(want))
	for _, r := range want {
		wanted[r] = r.Own()
	}
	held := make(map[Rule]bool)
	for r := range have {
		if r.Own() && !wanted[r] && !held[r] {
			del = append(del, r)
		}
		held[r] = true
	}
	for r, own := range wanted {
		if own && !held[r] {
			add = append(add, r)
		}
	}
	return sortRules(add), sortRules(del)
}
