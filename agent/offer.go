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
	held    bool        // it was rolled back: not tried again before somebody asks
	waits   bool        // for the path to be measured, since when
	since   time.Time
	backoff session.Backoff
	// onDisk says that the disk refused it, which no event tells the end of; it is
	// due at retryAt.
	onDisk  bool
	retryAt time.Time
}

// offer takes an assignment from the plane: validate, select, plan, disk, kernel,
// trial, answer. A refused one changes nothing. The result is nil where the answer
// comes later.
func (c *core) offer(ctx context.Context, update *agentv1.AssignmentUpdate) *agentv1.AssignmentResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.taking.begin()()
	f := &c.facts
	f.operation = c.ops.facts() // one that began a moment ago holds its network
	if t := f.trial; t != nil && t.next != nil && sameUpdate(t.next.update, update) {
		return nil // it is on trial, and answered at its end
	}
	c.offered = offered{backoff: newBackoff(), since: time.Now()}
	if update.GetRetry() {
		if err := c.forgive(); err != nil {
			c.log.Warn("cannot try again what was rolled back", zap.Error(err))
		}
	}
	next, refusals := checkAssignment(update, f.hostID.ID)
	pending := false
	switch before := f.assignment; {
	case len(refusals) > 0:
	case before != nil && sameUpdate(before.update, update) && (f.trial == nil || f.trial.next == nil):
		f.assignment, f.fromCache = next, false
	default:
		refusals, pending = c.take(ctx, next)
	}
	var result *agentv1.AssignmentResult
	if !pending {
		result = c.answer(update, refusals)
	}
	c.evaluate()
	return result
}

func sameUpdate(a, b *agentv1.AssignmentUpdate) bool {
	return a.GetDigest() == b.GetDigest() && a.GetGeneration() == b.GetGeneration()
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
// as it was; c.mu is held. Where it changes the network, that is a trial, and the
// answer is given at its end: pending. What this host's network refuses is taken
// all the same where no former assignment works: there is nothing to keep, and the
// conditions say what is wrong.
func (c *core) take(ctx context.Context, next *assignment) (refusals []*agentv1.FieldRefusal, pending bool) {
	f := &c.facts
	c.offered.keep = c.offered.keep || f.assignment.inPool() && f.net.selected && f.net.planErr == nil
	if !next.inPool() && f.held() == nil {
		if err := c.forget(ctx); err != nil {
			return c.diskRefuses(next, err), false
		}
		refusals = c.adopt(next)
		c.network(ctx)
		return refusals, false
	}
	asked := f.asked(next)
	if f.record.Confirmed.id() == asked.config().id() {
		return c.takeConfirmed(ctx, next), false
	}
	if back := f.record.RolledBack; back != nil && back.Network.id() == asked.config().id() {
		c.offered.next, c.offered.held = next, true
		return f.rolledBackRefusals(asked, back.Reason), false
	}
	looked, _ := c.judge(asked)
	if len(looked.refusals()) > 0 && c.refresh(ctx) {
		looked, _ = c.judge(asked) // the host may have changed a moment ago
	}
	switch refusals := looked.refusals(); {
	case len(refusals) == 0:
		return c.try(ctx, next, asked)
	case c.offered.keep:
		c.offered.next, c.offered.onDisk = next, false
		return refusals, false
	}
	return c.takeAsItIs(ctx, next), false
}

// takeAsItIs takes an assignment although something on this host is in the way of
// its network, which is tried as soon as nothing is.
func (c *core) takeAsItIs(ctx context.Context, next *assignment) []*agentv1.FieldRefusal {
	refusals := c.adopt(next)
	c.network(ctx)
	return refusals
}

// takeConfirmed takes an assignment whose network is in force already.
func (c *core) takeConfirmed(ctx context.Context, next *assignment) []*agentv1.FieldRefusal {
	f := &c.facts
	if f.trial != nil && f.trial.op == nil {
		c.withdraw(ctx)
	}
	refusals := c.adopt(next)
	c.network(ctx)
	return refusals
}

// withdraw ends the trial of an assignment that the plane has replaced.
func (c *core) withdraw(ctx context.Context) {
	f := &c.facts
	next := f.record.clone()
	next.Trial = nil
	c.closeSwitch(next, f.trial)
	c.failover.restart(f.trial.server)
	c.replaceTrial()
	f.record, f.dropUnplanned = *next, true
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down that a trial was withdrawn; a restart does it again", zap.Error(err))
	}
	c.network(ctx)
}

// try begins the trial of an assignment's network, at once or as soon as the path
// was measured with which it is to be compared.
func (c *core) try(ctx context.Context, next *assignment, asked network) (refusals []*agentv1.FieldRefusal, pending bool) {
	f := &c.facts
	if t := f.trial; t != nil && t.network.config().id() == asked.config().id() && t.op == nil {
		t.next = next // the same network once more: its trial goes on
		return nil, true
	}
	rule, wait, why := c.mayTry(c.offered.since)
	switch {
	case wait:
		c.offered.next, c.offered.waits = next, true
		return nil, true
	case rule == nil:
		c.offered.next = next
		return []*agentv1.FieldRefusal{{Field: "network", Reason: why}}, false
	}
	c.offered.waits = false
	refusals, err := c.begin(ctx, &trial{rule: *rule, network: asked, next: next})
	switch {
	case err != nil:
		return c.diskRefuses(next, err), false
	case len(refusals) == 0:
		return nil, true
	case !c.offered.keep:
		return c.takeAsItIs(ctx, next), false
	}
	c.offered.next, c.offered.onDisk = next, false
	return refusals, false
}

// mayTry says whether a trial may begin now: with its rule, or not yet, or why not.
// since is when it was asked for.
func (c *core) mayTry(since time.Time) (rule *netcfg.Trial, wait bool, why string) {
	f := &c.facts
	now := time.Now()
	first := f.record.Confirmed == nil
	grade, measured := c.grade()
	before := grade
	if first {
		before, measured = netcfg.GradeDown, true
	} else if f.trial != nil {
		before, measured = f.trial.rule.Before, true // it takes that one's place
	}
	if f.session.Connected && f.session.Since.After(since) {
		since = f.session.Since // nothing could be begun before
	}
	may, wait, why := netcfg.MayBegin(first, f.session.Connected, before, measured, now.Sub(since))
	if !may {
		if wait && f.session.Connected {
			c.wakeAt(now.Add(time.Second)) // the plane's return wakes by itself
		}
		return nil, wait, why
	}
	rule = &netcfg.Trial{Before: before, Began: now, Deadline: now.Add(c.options.TrialTimeout), First: first}
	if f.trial != nil && f.trial.latest.Before(rule.Deadline) {
		rule.Deadline = f.trial.latest
	}
	return rule, false, ""
}

// retryIn wakes the pipeline for the disk; c.mu is held.
func (c *core) retryIn(wait time.Duration) {
	c.offered.retryAt = time.Now().Add(wait)
	c.wakeAt(c.offered.retryAt)
}

// offerAgain tries an assignment that was refused once more: where the network
// refused it, after each change of the network; where the disk did, by the clock;
// where the path was not measured, when it was. c.mu is held.
func (c *core) offerAgain(ctx context.Context, fresh bool) {
	o := &c.offered
	next := o.next
	switch {
	case next == nil, o.held:
		return
	case o.onDisk && time.Now().Before(o.retryAt):
		c.wakeAt(o.retryAt)
		return
	case !o.onDisk && !o.waits && !fresh:
		return
	case o.waits && time.Now().Before(o.retryAt):
		c.wakeAt(o.retryAt)
		return
	}
	// Nothing is touched for a look: the former routes must not flap.
	if o.onDisk {
		if err := c.cache.room(next); err != nil {
			c.retryIn(time.Second + o.backoff.Next())
			return
		}
		o.onDisk = false
	}
	refusals, pending := c.take(ctx, next)
	if pending || sameRefusals(refusals, c.facts.refused.GetRefusals()) && len(refusals) > 0 {
		return
	}
	c.answer(next.update, refusals)
}

// reconcile brings into force what is asked for and was not offered just now: the
// network of an assignment that was taken while something on this host was in its
// way, or while a node or an operation held another one. c.mu is held.
func (c *core) reconcile(ctx context.Context) {
	f := &c.facts
	a := f.assignment
	if f.trial != nil || c.offered.next != nil || a == nil || a.generation() < f.record.Generation {
		return
	}
	if f.operation.running && f.isNode() {
		return // the operation decides, and its end
	}
	c.settleSwitch()
	asked := f.asked(a)
	if len(asked.vpcCIDRs) == 0 {
		if f.record.Confirmed != nil && c.forget(ctx) == nil {
			c.network(ctx)
		}
		return
	}
	if f.record.Confirmed.id() == asked.config().id() {
		return
	}
	if back := f.record.RolledBack; back != nil && back.Network.id() == asked.config().id() {
		return
	}
	if time.Now().Before(c.offered.retryAt) {
		c.wakeAt(c.offered.retryAt)
		return
	}
	if looked, _ := c.judge(asked); len(looked.refusals()) > 0 {
		return
	}
	c.offered.retryAt = time.Now().Add(c.offered.backoff.Next())
	if refusals, pending := c.try(ctx, a, asked); !pending {
		c.answer(a.update, refusals)
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
