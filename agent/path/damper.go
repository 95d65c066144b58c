package path

import (
	"fmt"
	"slices"
	"time"
)

const (
	// flapWindow and flapMost say what flapping is: more changes between good and
	// bad than that within the window.
	flapWindow = 5 * time.Minute
	flapMost   = 3
	// flapCalm is how long a path that flapped must be good before it is called so.
	flapCalm = 2 * time.Minute
)

// damper decides what is shown of what rounds find. One lost packet is no verdict,
// and a verdict that changes all the time helps nobody.
type damper struct {
	// current is the last finding that counts, failures how many bad ones came in
	// a row.
	current  finding
	failures int
	// changes are the recent ones between good and bad, lastBad what was bad then,
	// flaps says so in words.
	changes []time.Time
	lastBad finding
	flaps   string
	// held says that a good path is still shown as bad, goodSince since when it is
	// good.
	held      bool
	goodSince time.Time
}

// next takes what a round found and returns what to show. The NIC's own state is no
// matter of luck: it counts at once.
func (d *damper) next(found finding, now time.Time, hurry bool) finding {
	d.count(found, now, hurry)
	d.changes = slices.DeleteFunc(d.changes, func(at time.Time) bool { return now.Sub(at) > flapWindow })
	switch {
	case d.current.verdict.bad():
		d.goodSince = time.Time{}
		d.lastBad = d.current
	case hurry:
		d.held, d.changes = false, nil
	case d.current.verdict == Unknown:
		d.held = false
	case d.held || len(d.changes) > flapMost:
		return d.hold(now)
	}
	return d.flapping(d.current)
}

// count makes a finding the current one, unless it is the first failure.
func (d *damper) count(found finding, now time.Time, hurry bool) {
	certain := hurry || found.segment == SegmentLink || found.segment == SegmentAddress
	if !found.verdict.bad() {
		d.failures = 0
	} else if d.failures++; d.failures == 1 && d.current.verdict == Healthy && !certain {
		return
	}
	if d.current.verdict != Unknown && found.verdict != Unknown && d.current.verdict.bad() != found.verdict.bad() {
		d.changes = append(d.changes, now)
		d.flaps = fmt.Sprintf("flapping: %d changes in %d min", len(d.changes), 1+int(now.Sub(d.changes[0])/time.Minute))
	}
	d.current = found
}

// hold shows the former bad finding until the path was good for a while.
func (d *damper) hold(now time.Time) finding {
	if d.goodSince.IsZero() {
		d.goodSince = now
	}
	if d.held = now.Sub(d.goodSince) < flapCalm; !d.held {
		d.changes = nil
		return d.current
	}
	shown := d.lastBad
	shown.message = fmt.Sprintf("%s; it answers now and is called healthy after %s without a failure; last seen: %s", d.flaps, flapCalm, shown.message)
	return shown
}

// flapping says so of a bad finding.
func (d *damper) flapping(shown finding) finding {
	if shown.verdict.bad() && len(d.changes) > flapMost {
		shown.message = d.flaps + "; " + shown.message
	}
	return shown
}

// unsure says that the last failure is to be seen again before it counts, or was
// the first one.
func (d *damper) unsure() bool { return d.failures == 1 }

// forget drops what another way found; flaps survive where the NIC itself comes and
// goes.
func (d *damper) forget(all bool) {
	if all {
		*d = damper{}
	}
	d.failures = 0
}
