package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const liveSwitch = agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH

// switchStep is the one step that operators see of a live switch, measureStep what
// comes before a trial.
const (
	switchStep  = "trial"
	measureStep = "measure"
)

// switchEnd is a live switch for the record; state 0: under way.
func (c *core) switchEnd(op *agentv1.Operation, state agentv1.OperationState, message string) *switchEnd {
	end := &switchEnd{
		ID: op.GetId(), Epoch: op.GetSequence().GetEpoch(), Counter: op.GetSequence().GetCounter(),
		State: int32(state), Message: brief(message, maxMessage), BeganAt: c.now(),
	}
	if before := c.facts.record.Switch; before != nil && before.ID == end.ID {
		end.BeganAt = before.BeganAt
	}
	if state != 0 {
		end.EndedAt = c.now()
	}
	return end
}

// progress is what plane and operators hear of a live switch.
func (s *switchEnd) progress() *agentv1.OperationProgress {
	p := &agentv1.OperationProgress{
		OperationId: s.ID, Kind: liveSwitch, State: agentv1.OperationState(s.State), Step: switchStep,
		Message: s.Message, StartedAt: timestamppb.New(s.BeganAt),
	}
	if s.State == 0 {
		p.State, p.Percent = agentv1.OperationState_OPERATION_STATE_RUNNING, 50
		p.Message = orText(p.GetMessage(), "the new VPN servers are on trial: the plane is called and the VPC is probed")
		return p
	}
	p.EndedAt = timestamppb.New(s.EndedAt)
	if p.State == agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		p.Percent = 100
	}
	return p
}

// switchServers runs a live switch to its end, and returns how it ended; nil where
// ctx ended first. tell hears of its progress.
func (c *core) switchServers(ctx context.Context, op *agentv1.Operation, tell func(*agentv1.OperationProgress)) *agentv1.OperationProgress {
	if known := c.knownSwitch(op); known != nil {
		return known
	}
	t, refusal := c.beginWhenReady(ctx, op, tell, c.trySwitch)
	switch {
	case refusal != "":
		return c.refuseSwitch(op, refusal)
	case t == nil:
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-t.over:
	}
	c.notify()
	c.mu.Lock()
	defer c.mu.Unlock()
	if end := c.facts.record.Switch; end != nil && end.ID == op.GetId() && end.State != 0 {
		return end.progress()
	}
	return c.switchEnd(op, agentv1.OperationState_OPERATION_STATE_FAILED, fmt.Sprintf("it did not come to its end: %v", t.failure)).progress()
}

// knownSwitch answers for a live switch that has ended already, and refuses one
// that is not newer than the last.
func (c *core) knownSwitch(op *agentv1.Operation) *agentv1.OperationProgress {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.facts.record.Switch
	if last == nil {
		return nil
	}
	if last.ID == op.GetId() && last.State != 0 {
		return last.progress()
	}
	s := op.GetSequence()
	if s.GetEpoch() < last.Epoch || s.GetEpoch() == last.Epoch && s.GetCounter() <= last.Counter {
		refused := c.switchEnd(op, agentv1.OperationState_OPERATION_STATE_REFUSED, fmt.Sprintf(
			"its sequence %d/%d is not above %d/%d, the last one's: it is old, or was sent twice; ask for another one",
			s.GetEpoch(), s.GetCounter(), last.Epoch, last.Counter))
		return refused.progress()
	}
	return nil
}

// refuseSwitch remembers a live switch that did not begin, so that the same bytes
// never begin it later.
func (c *core) refuseSwitch(op *agentv1.Operation, why string) *agentv1.OperationProgress {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.switchEnd(op, agentv1.OperationState_OPERATION_STATE_REFUSED, why)
	next := c.facts.record.clone()
	next.Switch = end
	c.facts.record = *next
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down that a live switch was refused", zap.Error(err))
	}
	return end.progress()
}

// switchPoll is how often a live switch looks whether it may begin, and
// switchPatience how long it waits for that.
const (
	switchPoll     = 200 * time.Millisecond
	switchPatience = time.Minute
)

// tryToBegin begins the trial of an operation that was asked for at that time, or
// says what it waits for, or why it cannot begin.
type tryToBegin func(ctx context.Context, op *agentv1.Operation, asked time.Time) (t *trial, wait, refusal string)

// beginWhenReady waits until an operation's trial may begin, and begins it. A
// refusal says why it does not; both empty: ctx ended.
func (c *core) beginWhenReady(ctx context.Context, op *agentv1.Operation, tell func(*agentv1.OperationProgress), try tryToBegin) (*trial, string) {
	asked := time.Now()
	for {
		t, wait, refusal := try(ctx, op, asked)
		switch {
		case t != nil || refusal != "":
			return t, refusal
		case time.Since(asked) > switchPatience:
			return nil, "it waited too long: " + wait + "; ask for it again when that is over"
		}
		tell(&agentv1.OperationProgress{
			OperationId: op.GetId(), Kind: op.GetKind(), State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: measureStep,
			Message: brief(wait, maxMessage), StartedAt: timestamppb.New(asked), NodeDigest: op.GetNodeDigest(), Abortable: op.GetKind() != liveSwitch,
		})
		if !pause(ctx, switchPoll) {
			return nil, ""
		}
	}
}

// trySwitch begins a live switch, or says what it waits for, or why it cannot
// begin.
func (c *core) trySwitch(ctx context.Context, op *agentv1.Operation, asked time.Time) (t *trial, wait, refusal string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.taking.begin()()
	f := &c.facts
	if f.trial != nil {
		return nil, "another change of the network is on trial until " + f.trial.rule.Deadline.UTC().Format(time.RFC3339), ""
	}
	if f.record.Confirmed == nil {
		return nil, "", "no network is confirmed on this host yet; set the host's VPN server IP in its NodePool"
	}
	n := f.record.Confirmed.network(f.toward(nil))
	n.vpnServers = serversOf(op)
	looked, _ := c.judge(n)
	if found := looked.refusals(); len(found) > 0 {
		return nil, "", found[0].GetReason()
	}
	if slices.Equal(n.vpnServers, f.record.Confirmed.VPNServers) {
		return c.nothingToSwitch(op), "", ""
	}
	rule, later, why := c.mayTry(asked)
	switch {
	case later:
		return nil, why, ""
	case rule == nil:
		return nil, "", why
	}
	t = &trial{rule: *rule, network: n, op: op}
	return c.beginTrial(ctx, t)
}

// beginTrial begins the trial of an operation, or says why it cannot begin; c.mu is
// held.
func (c *core) beginTrial(ctx context.Context, t *trial) (begun *trial, wait, refusal string) {
	refusals, err := c.begin(ctx, t)
	switch {
	case err != nil:
		return nil, "", err.Error() + "; make room or repair the disk, and ask for it again"
	case len(refusals) > 0:
		return nil, "", refusals[0].GetReason()
	}
	c.evaluate()
	return t, "", ""
}

// nothingToSwitch is a trial that has ended: the servers are in force already.
func (c *core) nothingToSwitch(op *agentv1.Operation) *trial {
	over := make(chan struct{})
	close(over)
	next := c.facts.record.clone()
	next.Switch = c.switchEnd(op, agentv1.OperationState_OPERATION_STATE_SUCCEEDED, "these VPN servers are in force already")
	c.facts.record = *next
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down a live switch that changed nothing")
	}
	return &trial{op: op, over: over}
}

// serversOf are the servers of a live switch, which was validated.
func serversOf(op *agentv1.Operation) []netip.Addr {
	texts := op.GetNetworkSwitch().GetVpnServers()
	servers := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			servers = append(servers, addr)
		}
	}
	return servers
}

// runSwitch is a live switch as the operations task sees it: like any operation,
// but it never reaches root.
func (o *operations) runSwitch(ctx context.Context, op *agentv1.Operation) {
	tell := func(p *agentv1.OperationProgress) {
		o.outbox.SetOperation(p)
		o.change(func(s *operationFacts) { s.netSwitch = p })
	}
	tell((&switchEnd{ID: op.GetId(), BeganAt: o.now()}).progress())
	end := o.switchServers(ctx, op, tell)
	if end == nil {
		return
	}
	o.log.Info("live switch ended: " + operation.StateName(end.GetState()))
	tell(end)
}
