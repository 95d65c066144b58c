package netcfg

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// outage is a time during which a server does not answer.
type outage struct{ from, to time.Duration }

// outcome is one outcome, as a prober with the promised cadence sees it.
type outcome struct {
	at     time.Duration
	server netip.Addr
	ok     bool
}

// probe plays a prober for one server: a probe every 4 s from phase on, 2 s of
// patience, and a second probe as soon as one failed. A refusal comes at once.
func probe(server netip.Addr, phase, length time.Duration, refuses bool, outages []outage) []outcome {
	up := func(at time.Duration) bool {
		return !slices.ContainsFunc(outages, func(o outage) bool { return at >= o.from && at < o.to })
	}
	var all []outcome
	ask := func(at time.Duration) (time.Duration, bool) {
		ok := up(at)
		if !ok && !refuses {
			at += 2 * time.Second
		}
		all = append(all, outcome{at, server, ok})
		return at, ok
	}
	for at := phase; at < length; at += 4 * time.Second {
		if failed, ok := ask(at); !ok {
			ask(failed)
		}
	}
	return all
}

// change is one switch of the routes.
type change struct {
	at       time.Duration
	from, to netip.Addr
	returned bool // the one left was not dead
}

// play hands the outcomes to a Failover in the order of time, asks it where it says
// so by Next as well, and checks what must hold at each switch.
func play(t *rapid.T, servers []netip.Addr, events []outcome) []change {
	slices.SortStableFunc(events, func(a, b outcome) int { return cmp.Compare(a.at, b.at) })
	f, began := &Failover{}, trialBegan()
	known := make(map[netip.Addr][]outcome)
	var changes []change
	active, _ := f.Choose(servers, began)
	choose := func(at time.Duration) {
		got, _ := f.Choose(servers, began.Add(at))
		if got == active {
			return
		}
		c := change{at: at, from: active, to: got, returned: !deadBy(known[active])}
		if to := known[got]; len(to) == 0 || !to[len(to)-1].ok {
			t.Fatalf("at %s to %s, which is not known to answer: %v", at, got, to)
		}
		if c.returned && (slices.Index(servers, got) > slices.Index(servers, active) || answeredFor(known[got]) < 30*time.Second) {
			t.Fatalf("at %s from %s, which is not dead, to %s after %s", at, active, got, answeredFor(known[got]))
		}
		active = got
		changes = append(changes, c)
	}
	var last time.Duration
	for _, e := range events {
		if next, ok := f.Next(began.Add(last)); ok && next.Before(began.Add(e.at)) {
			choose(next.Sub(began))
		}
		last = e.at
		f.Observe(e.server, e.ok, began.Add(e.at))
		known[e.server] = append(known[e.server], e)
		choose(e.at)
	}
	return changes
}

// deadBy says whether the last two outcomes are failures.
func deadBy(known []outcome) bool {
	n := len(known)
	return n >= 2 && !known[n-1].ok && !known[n-2].ok
}

// answeredFor is how long the run of answers at the end is.
func answeredFor(known []outcome) time.Duration {
	if len(known) == 0 {
		return 0
	}
	last := known[len(known)-1].at
	for i := len(known) - 1; i >= 0 && known[i].ok; i-- {
		last = known[i].at
	}
	return known[len(known)-1].at - last
}

func drawOutages(t *rapid.T, length time.Duration) []outage {
	var all []outage
	mean := rapid.SampledFrom([]int{5, 30, 120, 900}).Draw(t, "seconds of quiet")
	for at := time.Duration(0); at < length; {
		at += time.Duration(rapid.IntRange(1, 2*mean).Draw(t, "up")) * time.Second
		to := at + time.Duration(rapid.IntRange(1, 40).Draw(t, "down"))*time.Second
		all = append(all, outage{at, to})
		at = to
	}
	return all
}

func TestFailoverUnderFlapping(t *testing.T) {
	t.Parallel()
	const length = time.Hour
	rapid.Check(t, func(t *rapid.T) {
		servers := serversNamed("abcd"[:rapid.IntRange(2, 4).Draw(t, "servers")])
		var events []outcome
		for _, s := range servers {
			phase := time.Duration(rapid.IntRange(0, 3999).Draw(t, "phase")) * time.Millisecond
			events = append(events, probe(s, phase, length, rapid.Bool().Draw(t, "refuses"), drawOutages(t, length))...)
		}
		changes := play(t, servers, events)
		returns := make(map[netip.Addr]int)
		for i, c := range changes {
			// A server that was left answers in one round of probes before it is
			// taken, and fails in another before it is left again: 8 s at least.
			if most := 8*len(servers) + 2; i >= most && c.at-changes[i-most].at < time.Minute {
				t.Fatalf("%d switches within %s", most+1, c.at-changes[i-most].at)
			}
			if c.returned {
				returns[c.to]++
			}
		}
		// 30 s, 1, 2, 4, 8 and then 10 min: no more fit into an hour.
		for s, n := range returns {
			if n > 5+int(length/(10*time.Minute)) {
				t.Fatalf("%d returns to %s within an hour", n, s)
			}
		}
	})
}

func TestFailoverWithinTenSeconds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		servers := serversNamed("ab")
		dies := time.Duration(rapid.IntRange(10_000, 20_000).Draw(t, "dies")) * time.Millisecond
		phase := time.Duration(rapid.IntRange(0, 3999).Draw(t, "phase")) * time.Millisecond
		events := append(
			probe(servers[0], 0, time.Minute, rapid.Bool().Draw(t, "refuses"), []outage{{dies, time.Hour}}),
			probe(servers[1], phase, time.Minute, false, nil)...)
		changes := play(t, servers, events)
		if len(changes) != 1 || changes[0].to != servers[1] || changes[0].at < dies || changes[0].at-dies > 10*time.Second {
			t.Fatalf("died at %s: %+v", dies, changes)
		}
	})
}

func TestFailoverIgnoresSingleLosses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		servers := serversNamed("ab")
		var lost []outage
		for at := 4 * time.Second; at < time.Hour; at += time.Duration(rapid.IntRange(1, 5).Draw(t, "quiet rounds")) * 4 * time.Second {
			lost = append(lost, outage{at, at + time.Millisecond}) // one probe, not the second
		}
		events := append(probe(servers[0], 0, time.Hour, false, lost), probe(servers[1], time.Second, time.Hour, false, nil)...)
		if changes := play(t, servers, events); len(changes) > 0 {
			t.Fatalf("%+v", changes)
		}
	})
}
