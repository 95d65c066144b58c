package netcfg

import (
	"slices"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// modelKernel behaves like the kernel's tables as far as the Keeper's requests go,
// and refuses what its test wants refused. After each write it calls look.
type modelKernel struct {
	routes []Route // those with one key in the kernel's order
	rules  []Rule
	refuse func() bool
	look   func()
}

func (m *modelKernel) writeRoutes(kind, flags uint16, routes []Route) []error {
	errs := make([]error, len(routes))
	for i, r := range routes {
		if errs[i] = syscall.ENOBUFS; !m.refuse() {
			errs[i] = m.writeRoute(kind, flags, r)
		}
		m.look()
	}
	return errs
}

func (m *modelKernel) writeRoute(kind, flags uint16, r Route) error {
	at := slices.IndexFunc(m.routes, func(h Route) bool { return h.key() == r.key() })
	switch {
	case kind == rtmDelRoute:
		at = slices.IndexFunc(m.routes, func(h Route) bool { return deletes(r, h) })
		if at < 0 {
			return syscall.ESRCH
		}
		m.routes = slices.Delete(m.routes, at, at+1)
	case flags&flagReplace != 0 && at < 0:
		return syscall.ENOENT
	case flags&flagReplace != 0:
		m.routes[at] = r
	case at >= 0:
		return syscall.EEXIST
	default:
		m.routes = append(m.routes, r)
	}
	return nil
}

// deletes says whether a delete request hits a route (fib_table_delete): what it
// leaves open matches anything.
func deletes(del, r Route) bool {
	open := del.Scope == scopeNowhere
	return del.key() == r.key() && del.Protocol == r.Protocol &&
		(open || del.Gateway == r.Gateway && del.LinkIndex == r.LinkIndex && (del.MTU == 0 || del.MTU == r.MTU))
}

func (m *modelKernel) writeRules(kind, _ uint16, rules []Rule) []error {
	errs := make([]error, len(rules))
	for i, r := range rules {
		at := slices.Index(m.rules, r)
		switch {
		case m.refuse():
			errs[i] = syscall.ENOBUFS
		case kind == rtmNewRule && at >= 0:
			errs[i] = syscall.EEXIST
		case kind == rtmNewRule:
			m.rules = append(m.rules, r)
		case at < 0:
			errs[i] = syscall.ENOENT
		default:
			m.rules = slices.Delete(m.rules, at, at+1)
		}
		m.look()
	}
	return errs
}

func (m *model) adoptAll(t *rapid.T, d Desired) {
	want, err := checkWanted(d.Routes)
	if err != nil {
		t.Fatal(err)
	}
	m.adopt(d, want)
}

// read is a full scan.
func (m *model) read(k *modelKernel) {
	m.have, m.foreign, m.rules = newRouteSet(0), map[Route]bool{}, map[Rule]bool{}
	for _, r := range k.routes {
		if r.Own() {
			m.have.add(r)
		} else if m.places[r.place()] {
			m.foreign[r] = true
		}
	}
	for _, r := range k.rules {
		if r.Own() || r.near() {
			m.rules[r] = true
		}
	}
	m.settleMissing()
}

func anyRoute(protocols ...uint8) *rapid.Generator[Route] {
	return rapid.Custom(func(t *rapid.T) Route {
		return Route{
			Dst:       rapid.SampledFrom(prefixes("10.100.0.0/16", "10.101.0.0/16", "10.100.1.0/24")).Draw(t, "dst"),
			Gateway:   rapid.SampledFrom(addresses("10.200.0.2", "10.200.0.3")).Draw(t, "gateway"),
			LinkIndex: rapid.IntRange(2, 3).Draw(t, "link"),
			Protocol:  rapid.SampledFrom(protocols).Draw(t, "protocol"),
			Metric:    rapid.Uint32Range(0, 1).Draw(t, "metric"),
			MTU:       rapid.SampledFrom([]uint32{0, 1400}).Draw(t, "mtu"),
			Table:     rapid.SampledFrom([]int{TableMain, ProbeTable, ProbeTable + 1}).Draw(t, "table"),
			Type:      TypeUnicast,
		}
	})
}

func anyRule() *rapid.Generator[Rule] {
	return rapid.Custom(func(t *rapid.T) Rule {
		r := probeRule(rapid.IntRange(0, 2).Draw(t, "rule"))
		r.Protocol = rapid.SampledFrom([]uint8{OwnProtocol, OwnProtocol, 3}).Draw(t, "rule protocol")
		r.Table = ProbeTable + rapid.IntRange(0, 1).Draw(t, "rule table")
		r.odd = rapid.Bool().Draw(t, "odd rule") && r.Protocol != OwnProtocol
		return r
	})
}

// drawKernel makes a kernel with routes of anybody, also several with one key.
func drawKernel(t *rapid.T) *modelKernel {
	k := &modelKernel{
		routes: rapid.SliceOfNDistinct(anyRoute(OwnProtocol, OwnProtocol, 3, 16), 0, 8, rapid.ID[Route]).Draw(t, "have"),
		rules:  rapid.SliceOfNDistinct(anyRule(), 0, 4, rapid.ID[Rule]).Draw(t, "rules"),
		refuse: func() bool { return false }, look: func() {},
	}
	for i := range k.routes {
		k.routes[i].odd = rapid.IntRange(0, 4).Draw(t, "odd") == 0
	}
	return k
}

func drawDesired(t *rapid.T, k *modelKernel) Desired {
	d := Desired{Routes: rapid.SliceOfNDistinct(anyRoute(OwnProtocol), 0, 5, Route.key).Draw(t, "want")}
	for _, r := range rapid.SliceOfNDistinct(anyRule(), 0, 3, rapid.ID[Rule]).Draw(t, "want rules") {
		if r.Own() {
			d.Rules = append(d.Rules, r)
		}
	}
	for _, r := range k.routes {
		if rapid.Bool().Draw(t, "recorded") {
			d.Former = append(d.Former, r.ID())
		}
	}
	return d
}

// TestApplyHoldsItsPromises: whatever is in the kernel and whatever it refuses,
// nothing that is not ours changes, no destination that keeps a route of ours is
// ever without one, and no rule of ours leads into a table that was emptied.
func TestApplyHoldsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		k := drawKernel(t)
		m := newModel()
		m.adoptAll(t, drawDesired(t, k))
		m.read(k)
		foreign := func(r Route) bool { return !r.Own() || !m.mine(r) }
		mine := func(r Route) bool { return !foreign(r) }
		foreignRule := func(r Rule) bool { return !r.Own() }
		before, rulesBefore := slices.Clone(k.routes), slices.Clone(k.rules)
		k.refuse = func() bool { return rapid.IntRange(0, 3).Draw(t, "refused") == 0 }
		k.look = func() {
			for _, r := range before {
				kept := func(h Route) bool { return mine(h) && h.place() == r.place() }
				switch {
				case foreign(r) && !slices.Contains(k.routes, r):
					t.Fatalf("route %s is not ours and was touched", r)
				case mine(r) && m.places[r.place()] && !slices.ContainsFunc(k.routes, kept):
					t.Fatalf("%s was without a route", r.Dst)
				case mine(r) && !slices.ContainsFunc(k.routes, kept) && slices.ContainsFunc(k.rules, func(l Rule) bool {
					return l.Own() && l.Table == r.Table && !slices.Contains(m.wantRules, l)
				}):
					t.Fatalf("table %d lost %s before the rule that leads into it", r.Table, r.Dst)
				}
			}
			for _, r := range rulesBefore {
				if foreignRule(r) && !slices.Contains(k.rules, r) {
					t.Fatalf("rule %s is not ours and was touched", r)
				}
			}
		}
		m.apply(k, m.diff())
		converge(t, k, &m)
	})
}

// converge lets the kernel refuse nothing more: then everything that foreign
// routes leave room for is there, and nothing of ours besides.
func converge(t *rapid.T, k *modelKernel, m *model) {
	k.refuse = func() bool { return false }
	for range 12 { // one route of several with one key goes at a time
		m.read(k)
		m.apply(k, m.diff())
	}
	m.read(k)
	held := func(w Route) bool {
		return slices.ContainsFunc(k.routes, func(h Route) bool { return !h.Own() && h.key() == w.key() })
	}
	for _, w := range m.wanted {
		if !slices.Contains(k.routes, w) && !held(w) {
			t.Fatalf("wanted route %s is not there: %v", w, k.routes)
		}
	}
	for _, r := range k.routes {
		_, twin := m.want[r.key()]
		if r.Own() && m.mine(r) && !slices.Contains(m.wanted, r) && !held(r) && !m.blockedPlace(r) && !(twin && r.odd) {
			t.Fatalf("route %s stayed: %v", r, k.routes)
		}
	}
	for _, r := range k.rules {
		if r.Own() && !slices.Contains(m.wantRules, r) {
			t.Fatalf("rule %s stayed", r)
		}
	}
	for _, r := range m.wantRules {
		if !slices.Contains(k.rules, r) {
			t.Fatalf("wanted rule %s is not there", r)
		}
	}
}

// blockedPlace says whether a foreign route keeps a wanted one of the same
// destination out, so that ours stays.
func (m *model) blockedPlace(r Route) bool {
	for f := range m.foreign {
		if _, wanted := m.want[f.key()]; wanted && f.place() == r.place() {
			return true
		}
	}
	return false
}

// TestDiffIsWhatApplyWrites holds the exported, pure form to the Keeper's own.
func TestDiffIsWhatApplyWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		k := drawKernel(t)
		desired := drawDesired(t, k)
		m := newModel()
		m.adoptAll(t, desired)
		m.read(k)
		pure, own := Diff(desired, k.routes, k.rules), m.diff()
		if !slices.Equal(pure.Add, own.Add) || !slices.Equal(pure.Replace, own.Replace) || !slices.Equal(pure.AddRules, own.AddRules) ||
			!slices.Equal(pure.DelRules, own.DelRules) || len(pure.Del) != len(own.Del) {
			t.Fatalf("Diff %+v, the Keeper %+v", pure, own)
		}
		for _, r := range append(slices.Clone(pure.Del), pure.Replace...) {
			if !r.Own() || !m.mine(r) {
				t.Fatalf("would touch %s", r)
			}
		}
	})
}
