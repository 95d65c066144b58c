package netcfg

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// Waits of the maintenance loop. Nothing here ticks: every timer is set by an
// event, or by the resync interval.
const (
	wakeGap     = 100 * time.Millisecond // between two wake-ups of the pipeline
	noiseGap    = 2 * time.Second        // between two for others' routes
	verifyAfter = 100 * time.Millisecond // quiet time before repairs are verified
	verifyMax   = time.Second            // but no later than this
)

// sched is what the maintenance loop waits for; guarded by the Keeper's mu.
type sched struct {
	checkAt, wakeAt, resyncAt time.Time
	checkFull                 bool
	checkCause                string
	checked, woken            time.Time

	delayed map[item]loss // repairs that a fight delays
	dueAt   time.Time     // the first of them

	unverified           map[routeKey]Route
	verifyFrom, verifyAt time.Time // first unverified repair; when to look

	notes        []func() // callbacks and log lines, run in order without mu
	foreignNoted bool
}

// wake tells the pipeline now, or when that much time has passed since the last.
func (k *Keeper) wake(gap time.Duration) {
	now := time.Now()
	if next := k.woken.Add(gap); now.Before(next) {
		if k.wakeAt.IsZero() || next.Before(k.wakeAt) {
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

// due has delayed repairs looked at then.
func (k *Keeper) due(at time.Time) {
	if k.dueAt.IsZero() || at.Before(k.dueAt) {
		k.dueAt = at
		k.poke()
	}
}

// verifyLater asks for a look at a repair once repairs have calmed down.
func (k *Keeper) verifyLater(w Route, noticed time.Time) {
	k.unverified[w.key()] = w
	if k.verifyFrom.IsZero() {
		k.verifyFrom = noticed
	}
	at := noticed.Add(verifyAfter)
	if latest := k.verifyFrom.Add(verifyMax); latest.Before(at) {
		at = latest
	}
	if k.verifyAt.IsZero() {
		k.poke()
	}
	k.verifyAt = at // a loop that wakes too early sleeps on
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
	if due(k.dueAt, now) {
		k.runDelayed(now)
	}
	if due(k.wakeAt, now) {
		k.wakeAt, k.woken = time.Time{}, time.Time{}
		k.wake(0)
	}
	if due(k.resyncAt, now) {
		k.resyncAt = now.Add(k.opt.ResyncInterval)
		k.check(true, CauseResync, now)
	}
	if due(k.checkAt, now) {
		k.check(k.checkFull, k.checkCause, now)
	}
	if due(k.verifyAt, now) {
		k.verify()
	}
	var next time.Time
	for _, t := range []time.Time{k.dueAt, k.wakeAt, k.resyncAt, k.checkAt, k.verifyAt} {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	k.mu.Unlock()
	k.runNotes()
	return next, !next.IsZero()
}

func due(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// runDelayed does the repairs whose delay is over.
func (k *Keeper) runDelayed(now time.Time) {
	k.dueAt = time.Time{}
	for i, l := range k.delayed {
		if until := k.damping[i].until; now.Before(until) {
			k.due(until)
			continue
		}
		delete(k.delayed, i)
		k.restore(l)
	}
}

// verify looks whether the repairs are in the kernel, and checks if not. It gives
// mu away while it reads, so that no repair waits for it.
func (k *Keeper) verify() {
	pending, tables := k.unverified, k.scanned(false)
	k.unverified, k.verifyAt, k.verifyFrom = map[routeKey]Route{}, time.Time{}, time.Time{}
	k.mu.Unlock()
	seen := newRouteSet(len(pending))
	var failure error
	for _, table := range tables {
		err := k.look.dumpRoutes(table, OwnProtocol, func() {}, func(r Route) {
			if _, ok := pending[r.key()]; ok {
				seen.add(r)
			}
		})
		if err != nil {
			failure = err
		}
	}
	k.mu.Lock()
	for key, w := range pending {
		if failure != nil || !seen.has(w) && k.want[key] == w && k.have.has(w) {
			k.check(false, CauseDeleted, time.Now())
			return
		}
	}
}

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

// noteForeign announces what is not ours, once for several changes.
func (k *Keeper) noteForeign() {
	if k.foreignNoted {
		return
	}
	k.foreignNoted = true
	k.note(func() {
		k.mu.Lock()
		foreign, unrecorded, rules := k.foreignList(), k.unrecorded(), k.ruleLists().Foreign
		k.foreignNoted = false
		k.mu.Unlock()
		for _, r := range foreign {
			k.log.Warn("foreign route for a wanted prefix", zap.Stringer("route", r), zap.String("protocol", protocolName(r.Protocol)))
		}
		for _, r := range unrecorded {
			k.log.Warn("route with our protocol that we never made: it stays", zap.Stringer("route", r))
		}
		for _, r := range rules {
			k.log.Warn("foreign policy rule beside ours", zap.Stringer("rule", r), zap.String("protocol", protocolName(r.Protocol)))
		}
		if k.opt.OnForeign != nil {
			k.opt.OnForeign(foreign)
		}
	})
}
