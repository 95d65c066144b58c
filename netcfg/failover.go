package netcfg

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Times of a Failover. With a probe of each server every 4 s, 2 s of patience and a
// second probe as soon as the first failed, a dead server is left within 10 s.
const (
	// deadProbes in a row without an answer make a server dead, when deadTime has
	// passed since the first: a refusal comes at once, and so does the next one.
	deadProbes = 2
	deadTime   = time.Second
	// probeMemory is how long an observation counts; it bridges slow rounds.
	probeMemory = time.Minute
	// returnAfter is how long a more preferred server must have answered without a
	// failure before the routes return to it. It doubles, up to returnAfterMost, with each
	// return that did not last for stableTime; each stableTime halves it again.
	returnAfter     = 30 * time.Second
	returnAfterMost = 10 * time.Minute
	stableTime      = time.Hour
)

// Failover chooses among the VPN servers of a site. It leaves a server that is dead
// for one that answers, and returns to a more preferred one with hysteresis. It
// keeps no clock and starts nothing: observations and times are handed in, the
// latter all by one clock that no adjustment moves. The zero value is ready, and
// begins with the first server. It is not safe for concurrent use.
type Failover struct {
	active  netip.Addr
	entered time.Time // when the routes were switched to it; zero: never switched
	why     string
	order   []netip.Addr // of the last Choose
	seen    map[netip.Addr]*answers
}

// answers are what is known of one server.
type answers struct {
	fails   int       // in a row, up to now
	failing time.Time // the first of them
	since   time.Time // the first answer of the present run without a failure
	last    time.Time // the last answer
	at      time.Time // the last observation
	strikes int       // returns that did not last
	struck  time.Time // the last of them
}

// Resume has the first Choose begin with a server other than the first: the one that
// the routes in the kernel lead through already. A restart on a host whose first
// server is dead then interrupts nothing; the return to that one takes its hold time
// as ever. Later, and with an invalid address, it does nothing.
func (f *Failover) Resume(server netip.Addr) {
	if !f.active.IsValid() && server.IsValid() {
		f.active, f.why = server, "the routes led through it before"
	}
}

// Observe takes the outcome of one probe of a server; at is when it was known. One
// that comes later than a newer one is dropped.
func (f *Failover) Observe(server netip.Addr, ok bool, at time.Time) {
	a := f.of(server)
	if at.Before(a.at) {
		return
	}
	forgotten := at.Sub(a.at) > probeMemory
	a.at = at
	switch {
	case ok:
		if a.fails > 0 || a.last.IsZero() || forgotten {
			a.since = at
		}
		a.fails, a.last = 0, at
	case a.fails == 0 || forgotten:
		a.fails, a.failing = 1, at
	default:
		a.fails++
	}
}

func (f *Failover) of(server netip.Addr) *answers {
	a := f.seen[server]
	if a == nil {
		if f.seen == nil {
			f.seen = make(map[netip.Addr]*answers)
		}
		a = &answers{}
		f.seen[server] = a
	}
	return a
}

// Choose returns the server that the routes are to lead through, out of those that
// can be used, in order of preference; and why it is that one, in words for people.
// Without servers there is none. Call it after each Observe, at Next, and when the
// servers change.
func (f *Failover) Choose(servers []netip.Addr, now time.Time) (active netip.Addr, why string) {
	f.adopt(servers)
	if len(servers) == 0 {
		f.active, f.entered = netip.Addr{}, time.Time{}
		return netip.Addr{}, "no VPN server can be used"
	}
	at := slices.Index(servers, f.active)
	if at < 0 {
		at = f.begin(servers, now)
	}
	a := f.of(f.active)
	if !a.dead(now) {
		for _, s := range servers[:at] {
			if p := f.of(s); p.answers(now) && p.settled() {
				f.enter(s, now, fmt.Sprintf("it is preferred, and has answered for %s without a failure", p.hold()))
				break
			}
		}
		return f.active, f.why
	}
	next := f.answering(servers, now)
	if !next.IsValid() {
		return f.active, "no VPN server answers; the first that does is taken"
	}
	if !f.entered.IsZero() && now.Sub(f.entered) < stableTime {
		a.strikes, a.struck = a.strikesAt(now)+1, now
	}
	f.enter(next, now, fmt.Sprintf("it answers, and %s did not answer %d probes in a row", f.active, a.fails))
	return f.active, f.why
}

// Next returns when Choose could choose another server although nothing is observed
// until then; false: it could not. A return never comes by time alone: the answer
// that completes the hold time brings it.
func (f *Failover) Next(now time.Time) (at time.Time, ok bool) {
	a := f.seen[f.active]
	if a == nil || a.fails < deadProbes {
		return time.Time{}, false
	}
	if at = a.failing.Add(deadTime); !at.After(now) {
		return time.Time{}, false
	}
	return at, true
}

// adopt remembers the servers and forgets what is known of those long gone.
func (f *Failover) adopt(servers []netip.Addr) {
	if slices.Equal(f.order, servers) {
		return
	}
	f.order = slices.Clone(servers)
	for s := range f.seen {
		if len(f.seen) > 2*MaxVPNServers && !slices.Contains(servers, s) {
			delete(f.seen, s)
		}
	}
}

// begin takes a server where there was none, or where the one in use can no longer
// be used, and returns its place.
func (f *Failover) begin(servers []netip.Addr, now time.Time) int {
	if !f.active.IsValid() {
		f.active, f.why = servers[0], "it is the first of the VPN servers that can be used"
		return 0
	}
	next := f.answering(servers, now)
	if !next.IsValid() {
		next = servers[0]
	}
	f.enter(next, now, fmt.Sprintf("%s can no longer be used", f.active))
	return slices.Index(servers, next)
}

func (f *Failover) enter(server netip.Addr, now time.Time, why string) {
	f.active, f.entered, f.why = server, now, why
}

// answering returns the first server that answers; one that has done so for its
// hold time goes before one that may be flapping. Invalid: none answers.
func (f *Failover) answering(servers []netip.Addr, now time.Time) netip.Addr {
	var first netip.Addr
	for _, s := range servers {
		a := f.of(s)
		if !a.answers(now) {
			continue
		}
		if a.settled() {
			return s
		}
		if !first.IsValid() {
			first = s
		}
	}
	return first
}

func (a *answers) dead(now time.Time) bool {
	return a.fails >= deadProbes && now.Sub(a.failing) >= deadTime
}

// answers says whether the last thing known of the server is an answer, and not
// too old.
func (a *answers) answers(now time.Time) bool {
	return a.fails == 0 && !a.last.IsZero() && now.Sub(a.last) <= probeMemory
}

// settled says whether the server has answered for its hold time, from the first
// answer to the last.
func (a *answers) settled() bool { return a.last.Sub(a.since) >= a.hold() }

// hold is how long the present run of answers must be for a return.
func (a *answers) hold() time.Duration {
	hold := returnAfter
	for range a.strikesAt(a.since) {
		hold = min(2*hold, returnAfterMost)
	}
	return hold
}

// strikesAt is how many strikes still count.
func (a *answers) strikesAt(t time.Time) int {
	return max(0, a.strikes-int(t.Sub(a.struck)/stableTime))
}
