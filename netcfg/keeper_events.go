package netcfg

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// checkGap is the least time between two checks that events ask for. The first
// event of a storm is checked at once, the rest of it together.
const checkGap = 50 * time.Millisecond

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
	k.check(true, CauseOverrun, noticed)
	k.wake()
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
	switch m.kind {
	case rtmNewLink, rtmDelLink, rtmNewAddr, rtmDelAddr:
		// The kernel flushes routes with a link or address without saying so.
		k.wake()
		k.checkSoon(noticed, len(k.foreign) > 0, CauseFlushed)
	case rtmNewRoute, rtmDelRoute:
		if m.port == k.req.port {
			return // the echo of our own write, already in the model
		}
		_, err := parseRoute(m.body, func(r Route) {
			switch {
			case r.Table != TableMain:
			case r.Own():
				k.ownEvent(m, r, noticed)
			default:
				k.foreignEvent(m, r, noticed)
			}
		})
		if err != nil {
			k.checkSoon(noticed, true, CauseOverrun)
		}
	}
}

// ownEvent is somebody else's change to a route with our protocol.
func (k *Keeper) ownEvent(m message, r Route, noticed time.Time) {
	w, wanted := k.want[r.key()]
	if m.kind == rtmDelRoute {
		delete(k.have, r)
		if wanted && !k.have[w] {
			k.repair(w, CauseDeleted, m.port, noticed)
		}
		return
	}
	if m.flags&flagReplace != 0 {
		k.dropKey(r)
	}
	k.have[r] = true
	if k.managing && (!wanted || r != w) {
		k.checkSoon(noticed, false, CauseReplaced)
	}
}

// foreignEvent is a change to a route that is not ours.
func (k *Keeper) foreignEvent(m message, r Route, noticed time.Time) {
	k.wake()
	if len(k.missing) > 0 {
		k.checkSoon(noticed, true, CauseFlushed)
	}
	if !k.wantDst[r.Dst] {
		return
	}
	w, wanted := k.want[r.key()]
	if m.kind == rtmDelRoute {
		delete(k.foreign, r)
		k.noteForeign()
		if wanted && !k.have[w] {
			k.repair(w, CauseReplaced, m.port, noticed)
		}
		return
	}
	k.foreign[r] = true
	k.noteForeign()
	// `ip route replace` by somebody else takes our route away without a delete.
	if wanted && m.flags&flagReplace != 0 && k.have[w] {
		k.dropKey(w)
		k.missing[w.key()] = syscall.EEXIST
		k.checkSoon(noticed, true, CauseReplaced)
	}
}

// repair is the hot path: one message, no dump before it. NLM_F_EXCL keeps it from
// touching what somebody else put there meanwhile; a check afterwards confirms.
func (k *Keeper) repair(w Route, cause string, port uint32, noticed time.Time) {
	if !k.managing || !k.admitOne(w, noticed) {
		return
	}
	err := k.req.writeOne(rtmNewRoute, flagCreate|flagExcl, w)
	switch {
	case err == nil:
		k.have[w] = true
		delete(k.missing, w.key())
		k.repaired(Repair{When: noticed, Route: w, Took: time.Since(noticed), Cause: cause, Port: port})
		k.verifyLater(noticed)
	case errors.Is(err, syscall.EEXIST):
		// Ours after all (a check was faster), or a foreign one: look.
		k.missing[w.key()] = err
		k.checkSoon(noticed, true, cause)
	default:
		k.missing[w.key()] = err
		k.wake()
	}
}
