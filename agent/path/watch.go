package path

import (
	"context"
	"sync"
	"time"
)

const (
	// recheck is the wait before a failure is probed again: one lost packet is no
	// verdict. hurryGap is the time between rounds while somebody waits for them.
	recheck  = 2 * time.Second
	hurryGap = 2 * time.Second
	// serverGap is the time between probes of each VPN server where there are
	// several. Two probes that fail after it are within the ten seconds that a
	// failover may take.
	serverGap = 4 * time.Second
	// checkupGap is the time between measurements of what rounds do not show.
	checkupGap = 10 * time.Minute
)

// watch is the state of Run. Its methods run on Run's goroutine; workers only send
// probes and hand back what to do with the answers.
type watch struct {
	m       *Monitor
	ctx     context.Context //nolint:containedctx // of Run's life, as the watch itself
	found   chan func()
	workers sync.WaitGroup
	timer   *time.Timer

	plan Plan
	// way ends once the plan leads another way: what its workers find is dropped.
	way   context.Context //nolint:containedctx // of the plan's way
	leave context.CancelFunc

	rounding, checking     bool
	checked, unjudged      bool // a checkup has ended on this way; no round has judged it yet
	nextRound, nextServers time.Time
	lastCheckup            time.Time
	round                  uint64

	facts   evidence
	damper  damper
	servers []*server
}

func newWatch(ctx context.Context, m *Monitor) *watch {
	w := &watch{m: m, ctx: ctx, found: make(chan func()), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	w.way, w.leave = context.WithCancel(ctx)
	return w
}

func (w *watch) end() {
	w.leave()
	w.timer.Stop()
	w.workers.Wait()
}

// spawn runs work beside the loop, which then applies what it found, unless the way
// is another by then.
func (w *watch) spawn(work func(context.Context) func()) {
	way := w.way
	w.workers.Go(func() { w.deliver(way, work(way)) })
}

// deliver has the loop apply what a worker of the way found.
func (w *watch) deliver(way context.Context, found func()) {
	select {
	case w.found <- func() {
		if way.Err() == nil {
			found()
		}
	}:
	case <-w.ctx.Done():
	}
}

// adopt takes another plan. It is probed at once, also where only the judgement can
// be another.
func (w *watch) adopt(plan Plan) {
	former := w.plan
	w.plan = plan
	if !plan.sameWay(former) {
		w.leave()
		w.way, w.leave = context.WithCancel(w.ctx)
		w.rounding, w.checking, w.checked, w.unjudged = false, false, false, false
		w.lastCheckup, w.round = time.Time{}, 0
		w.damper.forget(plan.NIC != "" && former.NIC != "")
		mtu := w.facts.mtu
		w.facts = evidence{}
		if plan.sameTunnel(former) {
			w.facts.mtu = mtu
		}
	}
	w.adoptServers(former)
	now := time.Now()
	w.nextRound, w.nextServers = now, now
	if plan.idle() {
		w.conclude(now)
	}
}

// startDue starts what is due, and sets the timer to what comes next. What would be
// due soon after is done with it: each waking costs.
func (w *watch) startDue(now time.Time) {
	w.timer.Stop()
	if w.plan.idle() {
		return
	}
	severally, soon := len(w.servers) > 1, now
	if severally && !w.nextServers.After(now) {
		w.nextServers, soon = now.Add(serverGap), now.Add(serverGap/4)
		w.checkServers()
	}
	if !w.rounding && !w.nextRound.After(soon) {
		w.rounding = true
		w.startRound()
	}
	next := w.nextRound
	if w.rounding || severally && w.nextServers.Before(next) {
		next = w.nextServers
	}
	if !w.rounding || severally {
		w.timer.Reset(max(next.Sub(now), 0))
	}
}

// startRound probes everything at once.
func (w *watch) startRound() {
	plan := w.plan
	if len(w.servers) == 1 && !w.roundShows(w.servers[0]) {
		w.checkServers()
	}
	w.nextRound = time.Now().Add(w.gap())
	asked := w.nextRound
	w.spawn(func(ctx context.Context) func() {
		facts := w.m.prober.round(ctx, plan)
		return func() {
			w.rounding = false
			now := time.Now()
			if w.nextRound.Equal(asked) { // nobody asked for another one meanwhile
				w.nextRound = time.Time{}
			}
			w.take(facts)
			w.conclude(now)
			if w.nextRound.IsZero() {
				w.nextRound = now.Add(w.gap())
			}
			w.checkup(now)
		}
	})
}

// take keeps what a round found.
func (w *watch) take(facts evidence) {
	facts.handshake, facts.mtu = w.facts.handshake, w.facts.mtu
	w.facts = facts
	w.round++
	if len(w.servers) == 1 && w.roundShows(w.servers[0]) {
		w.observeByRound(w.servers[0])
	}
}

// conclude judges what is known and publishes it.
func (w *watch) conclude(now time.Time) {
	w.facts.plan, w.facts.now = w.plan, now
	w.checked, w.unjudged = w.checked || w.unjudged, false
	shown := w.damper.next(judge(w.facts), now, w.plan.Hurry)
	plan, results, round, servers, checked := w.plan, w.facts.results, w.round, w.serverReports(), w.checked
	held := w.damper.held && !w.damper.current.verdict.bad()
	w.m.publish(plan, func(r *Report) {
		since := r.Since
		if since.IsZero() || shown.verdict != r.Verdict {
			since = now
		}
		if shown.verdict == Healthy && r.Verdict.bad() {
			w.lastCheckup = time.Time{} // what the path was before is no measure of it now
		}
		*r = Report{
			Plan: plan, Results: results, Verdict: shown.verdict, Since: since, Segment: shown.segment, Message: shown.message,
			MTU: w.facts.mtu, Held: held, Checked: checked, Servers: servers, Round: round,
		}
	})
}

// gap is the time until the next round.
func (w *watch) gap() time.Duration {
	switch {
	case w.plan.Hurry:
		return hurryGap
	case w.damper.unsure():
		return min(recheck, w.plan.Interval)
	}
	return w.plan.Interval
}
