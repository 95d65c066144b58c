package netcfg

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// receive handles events until ctx ends. A blocked read is ended by a deadline.
func (k *Keeper) receive(ctx context.Context, events *eventConn) error {
	stop := context.AfterFunc(ctx, events.interrupt)
	defer stop()
	for {
		b, err := events.next()
		noticed := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.ENOBUFS):
			k.overrun(noticed)
		case err != nil:
			return fmt.Errorf("cannot read rtnetlink events: %w", err)
		default:
			k.process(b, noticed)
		}
	}
}

// overrun resyncs: the kernel dropped events, nobody knows which.
func (k *Keeper) overrun(noticed time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.overruns++
	k.checkSoon(noticed, true, CauseOverrun)
	k.wake(wakeGap)
}

func (k *Keeper) process(b []byte, noticed time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	// What cannot be decoded is treated like a lost event.
	if err := eachMessage(b, func(m message) bool { k.event(m, noticed); return true }); err != nil {
		k.checkSoon(noticed, true, CauseOverrun)
	}
}

func (k *Keeper) event(m message, noticed time.Time) {
	var err error
	switch m.kind {
	case rtmNewLink, rtmDelLink, rtmNewAddr, rtmDelAddr:
		// The kernel flushes routes with a link or address without saying so.
		k.wake(wakeGap)
		k.checkSoon(noticed, len(k.foreign) > 0, CauseFlushed)
	case rtmNewRoute, rtmDelRoute:
		if m.port == k.req.port {
			return // the echo of our own write, already in the model
		}
		_, err = parseRoute(m.body, func(r Route) {
			switch {
			case !ownTable(r.Table):
			case r.Own():
				k.ownEvent(m, r, noticed)
			default:
				k.foreignEvent(m, r, noticed)
			}
		})
	case rtmNewRule, rtmDelRule:
		var r Rule
		var ok bool
		if r, ok, err = parseRule(m.body); ok && m.port != k.req.port {
			k.ruleEvent(m, r, noticed)
		}
	}
	if err != nil {
		k.checkSoon(noticed, true, CauseOverrun)
	}
}

// ownEvent is somebody else's change to a route with our protocol.
func (k *Keeper) ownEvent(m message, r Route, noticed time.Time) {
	w, wanted := k.want[r.key()]
	if m.kind == rtmDelRoute {
		k.have.remove(r)
		switch {
		case wanted && !k.have.has(w):
			k.lose(loss{item: item{route: w.key()}, cause: CauseDeleted, port: m.port, noticed: noticed})
		case !k.mine(r):
			k.noteForeign()
		}
		return
	}
	if m.flags&flagReplace != 0 {
		k.have.dropKey(r.key())
	}
	k.have.add(r)
	k.tables[r.Table] = true
	if r == w {
		delete(k.missing, w.key())
	}
	switch {
	case !k.mine(r):
		k.noteForeign()
	case wanted && r != w && m.flags&flagReplace != 0:
		k.lose(loss{item: item{route: w.key()}, cause: CauseReplaced, port: m.port, noticed: noticed, swap: true})
	case k.managing && r != w:
		k.checkSoon(noticed, false, CauseReplaced)
	}
}

// foreignEvent is a change to a route that is not ours.
func (k *Keeper) foreignEvent(m message, r Route, noticed time.Time) {
	near := k.places[r.place()]
	if near || r.IsDefault() || r.Scope == ScopeLink {
		k.wake(wakeGap)
	} else {
		k.wake(noiseGap)
	}
	if len(k.missing) > 0 && m.kind == rtmNewRoute && k.reaches(r) {
		k.checkSoon(noticed, false, CauseFlushed)
	}
	if !near {
		return
	}
	w, wanted := k.want[r.key()]
	k.noteForeign()
	if m.kind == rtmDelRoute {
		delete(k.foreign, r)
		if wanted && !k.have.has(w) {
			k.lose(loss{item: item{route: w.key()}, cause: CauseReplaced, port: m.port, noticed: noticed})
		}
		return
	}
	k.foreign[r] = true
	// `ip route replace` by somebody else takes our route away without a delete.
	if wanted && m.flags&flagReplace != 0 && k.have.has(w) {
		k.have.dropKey(w.key())
		k.missing[w.key()] = syscall.EEXIST
		k.checkSoon(noticed, true, CauseReplaced)
	}
}

// reaches says whether a new foreign route may be what a missing one waited for:
// the kernel wants gateways to be on a link.
func (k *Keeper) reaches(r Route) bool {
	for g := range k.gateways {
		if r.Dst.Contains(g) {
			return true
		}
	}
	return false
}

// ruleEvent is somebody else's change to a rule.
func (k *Keeper) ruleEvent(m message, r Rule, noticed time.Time) {
	own := r.Own()
	if !own && !r.near() {
		return
	}
	wanted := k.wants(item{rule: r})
	if m.kind == rtmDelRule {
		delete(k.rules, r)
		if own && wanted {
			k.lose(loss{item: item{rule: r}, cause: CauseRule, port: m.port, noticed: noticed})
		}
	} else {
		k.rules[r] = true
		delete(k.missingRules, r)
		if own && !wanted && k.managing {
			k.checkSoon(noticed, false, CauseReplaced)
		}
	}
	if !own {
		k.noteForeign()
	}
}
