package netcfg

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Waits of the maintenance loop. Nothing here ticks: every timer is set by an
// event, or by the resync interval.
const (
	wakeGap     = 100 * time.Millisecond // between two wake-ups of the pipeline
	verifyAfter = 100 * time.Millisecond // quiet time before a repair is verified
	verifyMax   = time.Second            // but no later than this
)

// Damping: a route that is removed again within dampWindow of its repair, more
// than dampFree times in a row, is repaired with a delay that doubles.
const (
	dampWindow = time.Second
	dampFree   = 5
	dampFirst  = 100 * time.Millisecond
	dampMost   = 10 * time.Second
)

// damper is the memory of one route's repairs.
type damper struct {
	repaired time.Time // the last repair
	streak   int       // repairs in a row that did not last
	until    time.Time // no repair before
}

// sched is what the maintenance loop waits for; guarded by the Keeper's mu.
type sched struct {
	checkAt, wakeAt, resyncAt time.Time
	checkFull                 bool
	checkCause                string
	verifyFrom                time.Time // first unverified repair
	checked, woken            time.Time
	notes                     []func() // callbacks and log lines, run in order without mu
	foreignNoted              bool
}

// wake tells the pipeline now, or when the gap is over.
func (k *Keeper) wake() {
	now := time.Now()
	if next := k.woken.Add(wakeGap); now.Before(next) {
		if k.wakeAt.IsZero() {
			k.wakeAt = next
			k.poke()
		}
		return
	}
	k.woken, k.wakeAt = now, time.Time{}
	select {
	case k.changes <- struct{}{}:
	default:
	}
}

// poke makes the maintenance loop look at its timers.
func (k *Keeper) poke() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// checkSoon checks now, or with the rest of a storm.
func (k *Keeper) checkSoon(noticed time.Time, full bool, cause string) {
	if next := k.checked.Add(checkGap); noticed.Before(next) {
		k.checkLater(next, full, cause)
		return
	}
	k.check(full, cause, noticed)
}

// checkLater asks for a check at that time, or at an earlier one already set.
func (k *Keeper) checkLater(at time.Time, full bool, cause string) {
	k.checkFull = k.checkFull || full
	if k.checkAt.IsZero() || at.Before(k.checkAt) {
		k.checkAt, k.checkCause = at, cause
		k.poke()
	}
}

// verifyLater asks for a check once repairs have calmed down.
func (k *Keeper) verifyLater(noticed time.Time) {
	if k.verifyFrom.IsZero() {
		k.verifyFrom = noticed
	}
	at := noticed.Add(verifyAfter)
	if latest := k.verifyFrom.Add(verifyMax); latest.Before(at) {
		at = latest
	}
	if k.checkAt.IsZero() {
		k.checkLater(at, false, CauseDeleted)
	} else if k.checkAt.Before(at) && k.checkCause == CauseDeleted && !k.checkFull {
		k.checkAt = at // the loop wakes early once and sleeps on
	}
}

// maintain runs delayed work until ctx ends.
func (k *Keeper) maintain(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next, ok := k.runDue()
		timer.Stop()
		if ok {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			k.runNotes()
			return
		case <-k.kick:
		case <-timer.C:
		}
	}
}

// runDue does what is due and says when to come back, if at all.
func (k *Keeper) runDue() (time.Time, bool) {
	k.mu.Lock()
	now := time.Now()
	if due(k.wakeAt, now) {
		k.wake()
	}
	if due(k.resyncAt, now) {
		k.resyncAt = now.Add(k.opt.ResyncInterval)
		k.check(true, CauseResync, now)
	}
	if due(k.checkAt, now) {
		k.verifyFrom = time.Time{}
		k.check(k.checkFull, k.checkCause, now)
	}
	var next time.Time
	for _, t := range []time.Time{k.wakeAt, k.resyncAt, k.checkAt} {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	k.mu.Unlock()
	k.runNotes()
	return next, !next.IsZero()
}

func due(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// note queues f for the maintenance loop, which runs it without holding mu.
func (k *Keeper) note(f func()) {
	k.notes = append(k.notes, f)
	k.poke()
}

func (k *Keeper) runNotes() {
	k.mu.Lock()
	notes := k.notes
	k.notes = nil
	k.mu.Unlock()
	for _, f := range notes {
		f()
	}
}

// repaired counts and announces a repair.
func (k *Keeper) repaired(r Repair) {
	k.repairs++
	k.last = &r
	k.damping[r.Route.key()] = k.damping[r.Route.key()].next(r.When)
	k.note(func() {
		k.log.Info("route restored", zap.Stringer("route", r.Route), zap.String("cause", r.Cause),
			zap.Duration("took", r.Took), zap.Uint32("removed_by_port", r.Port))
		if k.opt.OnRepair != nil {
			k.opt.OnRepair(r)
		}
	})
}

// noteForeign announces the foreign routes, once for several changes.
func (k *Keeper) noteForeign() {
	if k.foreignNoted {
		return
	}
	k.foreignNoted = true
	k.note(func() {
		k.mu.Lock()
		list := k.foreignList()
		k.foreignNoted = false
		k.mu.Unlock()
		for _, r := range list {
			k.log.Warn("foreign route for a wanted prefix", zap.Stringer("route", r))
		}
		if k.opt.OnForeign != nil {
			k.opt.OnForeign(list)
		}
	})
}

// admitOne says whether the route may be repaired now. In a fight it may not, and
// a check is set for later.
func (k *Keeper) admitOne(r Route, now time.Time) bool {
	until := k.damping[r.key()].until
	if now.Before(until) {
		k.checkLater(until, false, CauseDeleted)
		return false
	}
	return true
}

// next counts a repair. One that comes soon after the former repair, or soon after
// the delay that the former one got, prolongs the fight.
func (d damper) next(when time.Time) damper {
	last := d.repaired
	if d.until.After(last) {
		last = d.until
	}
	n := damper{repaired: when}
	if !last.IsZero() && when.Sub(last) <= dampWindow {
		n.streak = d.streak + 1
	}
	if n.streak >= dampFree {
		n.until = when.Add(min(dampFirst<<min(n.streak-dampFree, 10), dampMost))
	}
	return n
}

// admit filters with admitOne.
func (k *Keeper) admit(routes []Route, now time.Time) []Route {
	return slices.DeleteFunc(routes, func(r Route) bool { return !k.admitOne(r, now) })
}

func (m *model) damped(now time.Time) []Route {
	var list []Route
	for key, d := range m.damping {
		if r, ok := m.want[key]; ok && now.Before(d.until) {
			list = append(list, r)
		}
	}
	return sortRoutes(list)
}
