package agent

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/session"
	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// offered is an assignment that is refused for a reason that may pass: it is tried
// again until the plane sends another.
type offered struct {
	next    *assignment // nil: none
	keep    bool        // the former assignment works: it goes only for one that does
	backoff session.Backoff
	// onDisk says that the disk refused it, which no event tells the end of; it is
	// due at retryAt.
	onDisk  bool
	retryAt time.Time
}

// offer takes an assignment from the plane: validate, select, plan, kernel, disk,
// answer. A refused one changes nothing.
func (c *core) offer(ctx context.Context, update *agentv1.AssignmentUpdate) *agentv1.AssignmentResult {
	defer c.taking.begin()()
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &c.facts
	c.offered = offered{backoff: session.Backoff{First: time.Second, Cap: time.Minute}}
	next, refusals := checkAssignment(update, f.hostID.ID)
	before := f.assignment
	same := before != nil && before.update.GetDigest() == update.GetDigest() && before.update.GetGeneration() == update.GetGeneration()
	switch {
	case len(refusals) > 0:
	case same:
		f.assignment, f.fromCache = next, false
	default:
		refusals = c.take(ctx, next)
	}
	result := c.answer(update, refusals)
	c.evaluate()
	return result
}

// answer tells plane and operators what became of an assignment; c.mu is held, so
// that answers leave in the order in which they were found.
func (c *core) answer(update *agentv1.AssignmentUpdate, refusals []*agentv1.FieldRefusal) *agentv1.AssignmentResult {
	f := &c.facts
	result := &agentv1.AssignmentResult{
		Generation: update.GetGeneration(), Digest: update.GetDigest(), Accepted: len(refusals) == 0, Refusals: refusals,
	}
	f.refused = result
	if result.GetAccepted() {
		f.refused, f.cacheErr = nil, nil
		c.offered.next = nil
	} else {
		c.log.Warn("refused an assignment", zap.Uint64("generation", result.GetGeneration()),
			zap.String("field", refusals[0].GetField()), zap.String("reason", refusals[0].GetReason()))
	}
	c.outbox.SetResult(result)
	return result
}

// take brings an assignment into force, or says why not and leaves the former one
// as it was; c.mu is held. What this host's network refuses is taken all the same
// where no former assignment works: there is nothing to keep, and the conditions
// say what is wrong.
func (c *core) take(ctx context.Context, next *assignment) []*agentv1.FieldRefusal {
	f := &c.facts
	c.offered.keep = c.offered.keep || f.assignment.inPool() && f.net.selected && f.net.planErr == nil
	back := c.former(ctx)
	f.assignment, f.fromCache = next, false
	c.switchNetwork(ctx)
	if refusals := f.net.refusals(); c.offered.keep && f.held() == nil && len(refusals) > 0 {
		back()
		c.offered.next, c.offered.onDisk = next, false
		return refusals
	}
	if err := c.cache.save(AssignmentFile, next); err != nil {
		back()
		c.offered.next, c.offered.onDisk = next, true
		c.retryIn(time.Second/2 + c.offered.backoff.Next()/2)
		return []*agentv1.FieldRefusal{{Field: "assignment", Reason: err.Error() + "; make room or repair the disk, the agent tries again by itself"}}
	}
	c.log.Info("assignment in force", zap.Uint64("generation", next.update.GetGeneration()), zap.String("pool", next.msg.GetPool()))
	return nil
}

// former returns how to go back to what is in force now; c.mu is held.
func (c *core) former(ctx context.Context) func() {
	f := &c.facts
	before, wasCached, nic, wanted := f.assignment, f.fromCache, f.stickyNIC, c.wanted
	return func() {
		f.assignment, f.fromCache = before, wasCached
		if nic != "" {
			c.remember(nic)
		}
		c.network(ctx)
		if before == nil && !slices.Equal(wanted, c.wanted) {
			f.net.setErr = c.setRoutes(ctx, wanted) // no stage says what there was
		}
	}
}

// retryIn wakes the pipeline for the disk; c.mu is held.
func (c *core) retryIn(wait time.Duration) {
	c.offered.retryAt = time.Now().Add(wait)
	time.AfterFunc(wait, c.notify)
}

// offerAgain tries an assignment that was refused once more: where the network
// refused it, after each change of the network; where the disk did, by the clock.
// c.mu is held.
func (c *core) offerAgain(ctx context.Context, fresh bool) {
	next := c.offered.next
	switch {
	case next == nil:
		return
	case !c.offered.onDisk && !fresh, c.offered.onDisk && time.Now().Before(c.offered.retryAt):
		return
	}
	// Nothing is touched for a look: the former routes must not flap.
	if c.offered.onDisk {
		if err := c.cache.room(next); err != nil {
			c.retryIn(time.Second + c.offered.backoff.Next())
			return
		}
	}
	if c.offered.keep && c.facts.held() == nil {
		looked, _ := c.judge(next.network)
		if refusals := looked.refusals(); len(refusals) > 0 {
			if !sameRefusals(refusals, c.facts.refused.GetRefusals()) {
				c.offered.onDisk = false
				c.answer(next.update, refusals)
			}
			return
		}
	}
	refusals := c.take(ctx, next)
	if len(refusals) == 0 || !sameRefusals(refusals, c.facts.refused.GetRefusals()) {
		c.answer(next.update, refusals)
	}
}

// confirm takes the plane's word that the cached assignment is the one it wants,
// and says that it is in force: the plane may have heard of a refusal only, before
// the stream broke.
func (c *core) confirm(generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &c.facts
	if f.assignment == nil || generation == 0 || f.assignment.update.GetGeneration() != generation {
		return
	}
	f.fromCache = false
	c.outbox.SetResult(&agentv1.AssignmentResult{
		Generation: generation, Digest: f.assignment.update.GetDigest(), Accepted: true,
	})
}

// maxRefusal bounds the reason of one refusal, in bytes.
const maxRefusal = 1024

// refusals says field by field what this host's network has against an assignment.
func (n *netResult) refusals() []*agentv1.FieldRefusal {
	var out []*agentv1.FieldRefusal
	if n.selectErr != nil {
		out = append(out, &agentv1.FieldRefusal{Field: netcfg.FieldNIC, Reason: brief(n.selectErr.Error(), maxRefusal)})
	}
	for _, fe := range netcfg.FieldErrors(n.planErr) {
		out = append(out, &agentv1.FieldRefusal{Field: fe.Field, Reason: brief(fe.Error(), maxRefusal)})
	}
	return out
}

func sameRefusals(a, b []*agentv1.FieldRefusal) bool {
	return slices.EqualFunc(a, b, func(x, y *agentv1.FieldRefusal) bool {
		return x.GetField() == y.GetField() && x.GetReason() == y.GetReason()
	})
}
