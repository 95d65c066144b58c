package path

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

const (
	// handshakeTime bounds a TLS handshake: TCP sends a lost segment again well
	// before.
	handshakeTime = 5 * time.Second
	// smallMSS keeps the peer's segments small enough for every path (RFC 9293,
	// 3.7.1).
	smallMSS = 536
)

// checkup measures what rounds do not show, the path MTU and a TLS handshake: after
// each change of the way, once it is healthy again, at long intervals, and with each
// round while something is wrong with it.
func (w *watch) checkup(now time.Time) {
	plan, results := w.plan, w.facts.results
	due := w.lastCheckup.IsZero() || now.Sub(w.lastCheckup) >= checkupGap || w.facts.troubled()
	if w.checking || !due || !slices.ContainsFunc(results, func(r Result) bool { return r.OK }) {
		return
	}
	w.checking, w.lastCheckup = true, now
	w.spawn(func(ctx context.Context) func() {
		hands := w.m.prober.shakeHands(ctx, plan, results)
		mtu, measured := w.m.prober.measureMTU(ctx, plan, mtuCandidates(plan, results))
		return func() {
			w.checking = false
			w.facts.handshake = hands
			if measured {
				w.facts.mtu = mtu
			}
			w.afterCheckup(time.Now())
		}
	})
}

// troubled says that the last checkup found something wrong.
func (e evidence) troubled() bool {
	for _, rule := range []func(evidence) (finding, bool){judgeClock, judgeMTU, judgeHandshake} {
		if _, applies := rule(e); applies {
			return true
		}
	}
	return false
}

// afterCheckup shows the path MTU, and has another round judge what changes the
// verdict: a failure counts once it was seen twice.
func (w *watch) afterCheckup(now time.Time) {
	mtu := w.facts.mtu
	w.facts.plan, w.facts.now = w.plan, now
	if judge(w.facts).verdict != w.damper.current.verdict {
		w.nextRound, w.unjudged = now, true
	} else {
		w.checked = true
	}
	checked := w.checked
	w.m.publish(w.plan, func(r *Report) { r.MTU, r.Checked = mtu, checked })
}

// shakeHands tries TLS with the first address of the API endpoint that answers.
// Where it hangs, it tries with small segments.
func (p Prober) shakeHands(ctx context.Context, plan Plan, results []Result) handshake {
	i := slices.IndexFunc(results, func(r Result) bool { return r.API && r.OK })
	if i < 0 {
		return handshake{}
	}
	target, err := netip.ParseAddrPort(results[i].Target)
	if err != nil {
		return handshake{}
	}
	try := func(mss int) (seen Certificate, err error) {
		err = within(ctx, handshakeTime, func(ctx context.Context) error {
			seen, err = p.TLS(ctx, plan.way(), target, endpointHost(plan.APIEndpoint), mss)
			return err
		})
		return seen, err
	}
	seen, err := try(0)
	if !errors.Is(err, errHangs) || ctx.Err() != nil {
		return handshake{Certificate: seen, target: results[i].Target}
	}
	seen, err = try(smallMSS)
	return handshake{Certificate: seen, target: results[i].Target, hangs: true, small: err == nil}
}
