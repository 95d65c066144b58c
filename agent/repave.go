package agent

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// The network part of a repave is the daemon's: it goes on trial before root hears
// of the operation, stays while root works, and goes back to what was confirmed
// before where root fails. So the two parts of a node are never of two
// assignments for longer than the operation takes.

// networkStep is the step that operators see of it.
const networkStep = "network"

// movedPatience is how long an operation may be unknown to everybody, with the plane
// in reach, before what it has brought goes back.
const movedPatience = 2 * time.Minute

// movedNetwork is what a repave has replaced.
type movedNetwork struct {
	OperationID string `json:"operationID"`
	// NodeDigest is that of the node part which the operation brings.
	NodeDigest string `json:"nodeDigest"`
	// Former was confirmed before, Switched the live switch that held with it.
	Former   *networkConfig   `json:"former"`
	Switched *switchedServers `json:"switched,omitempty"`
	// NIC and Server were in use before.
	NIC    netcfg.Remembered `json:"nic"`
	Server netip.Addr        `json:"server,omitzero"`
}

// moved is what the repave of a trial that is confirmed now has replaced.
func (f *facts) moved(t *trial) *movedNetwork {
	if before := f.record.Moved; before != nil {
		// Moved once more: the way back leads to what the node part was made for.
		again := *before
		again.OperationID, again.NodeDigest = t.op.GetId(), t.op.GetNodeDigest()
		return &again
	}
	return &movedNetwork{
		OperationID: t.op.GetId(), NodeDigest: t.op.GetNodeDigest(),
		Former: f.record.Confirmed, Switched: f.record.Switched, NIC: t.nic, Server: t.server,
	}
}

// movedTo is the assignment whose network an operation has brought ahead of its node
// part; nil: none.
func (f *facts) movedTo() *assignment {
	if m := f.record.Moved; m == nil || f.pending == nil || f.pending.msg.GetNodeDigest() != m.NodeDigest {
		return nil
	}
	return f.pending
}

// movesNode says whether an operation brings a node another network.
func movesNode(kind agentv1.OperationKind) bool {
	return kind == agentv1.OperationKind_OPERATION_KIND_REPAVE || kind == agentv1.OperationKind_OPERATION_KIND_RECONFIGURE
}

// wantedNetwork is the network that a repave to an assignment brings; false where
// that is in force already, or there is none.
func (f *facts) wantedNetwork(a *assignment) (network, bool) {
	if !a.inPool() || f.record.Confirmed == nil {
		return network{}, false
	}
	n := a.network
	n.toward = f.toward(a)
	wanted, have := n.config(), f.record.Confirmed
	n.move = wanted.NICName != have.NICName || wanted.NICMAC != have.NICMAC
	return n, wanted.id() != have.id()
}

// moveNetwork brings the network of an operation into force, as a trial. It returns
// nil where root may begin, else how the operation has ended; on is false where ctx
// ended first.
func (c *core) moveNetwork(ctx context.Context, op *agentv1.Operation, tell func(*agentv1.OperationProgress)) (end *agentv1.OperationProgress, on bool) {
	began := c.now()
	t, refusal := c.beginWhenReady(ctx, op, tell, c.tryMove)
	switch {
	case refusal != "":
		return movedEnd(op, agentv1.OperationState_OPERATION_STATE_FAILED, began, "cannot change the network for the operation: "+refusal), true
	case t == nil:
		return nil, false
	case t.over == nil:
		return nil, true // nothing to change
	}
	tell(&agentv1.OperationProgress{
		OperationId: op.GetId(), Kind: op.GetKind(), NodeDigest: op.GetNodeDigest(), State: agentv1.OperationState_OPERATION_STATE_RUNNING,
		Step: networkStep, Message: "the network that the operation brings is on trial", StartedAt: timestamppb.New(began), Abortable: true,
	})
	select {
	case <-ctx.Done():
		return nil, false
	case <-t.over:
	}
	c.notify()
	c.mu.Lock() // until the former network is in the kernel
	defer c.mu.Unlock()
	switch {
	case t.aborted:
		return movedEnd(op, agentv1.OperationState_OPERATION_STATE_ABORTED, began, "aborted while its network was on trial; the former network is in force, the node was not touched"), true
	case t.failure != nil:
		return movedEnd(op, agentv1.OperationState_OPERATION_STATE_FAILED, began,
			"its network was tried and rolled back: "+t.failure.Error()+"; the node was not touched; correct the NodePool or the HybridCluster, then repave again"), true
	}
	return nil, true
}

func movedEnd(op *agentv1.Operation, state agentv1.OperationState, began time.Time, message string) *agentv1.OperationProgress {
	return &agentv1.OperationProgress{
		OperationId: op.GetId(), Kind: op.GetKind(), NodeDigest: op.GetNodeDigest(), State: state, Step: networkStep,
		Message: brief(message, maxMessage), StartedAt: timestamppb.New(began), EndedAt: timestamppb.Now(),
	}
}

// tryMove begins the trial of an operation's network. A trial without an end is one
// that nothing is to be tried in.
func (c *core) tryMove(ctx context.Context, op *agentv1.Operation, asked time.Time) (t *trial, wait, refusal string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.taking.begin()()
	f := &c.facts
	if f.pending == nil || f.pending.msg.GetNodeDigest() != op.GetNodeDigest() {
		return &trial{op: op}, "", "" // root judges an operation for another assignment
	}
	n, differs := f.wantedNetwork(f.pending)
	switch {
	case !differs:
		return &trial{op: op}, "", ""
	case f.trial != nil:
		return nil, "another change of the network is on trial until " + f.trial.rule.Deadline.UTC().Format(time.RFC3339), ""
	}
	looked, _ := c.judge(n)
	if found := looked.refusals(); len(found) > 0 {
		return nil, "", found[0].GetReason()
	}
	rule, later, why := c.mayTry(asked)
	switch {
	case later:
		return nil, why, ""
	case rule == nil:
		return nil, "", why
	}
	return c.beginTrial(ctx, &trial{rule: *rule, network: n, op: op})
}

// abortMove ends the trial of an operation's network; false where none runs.
func (c *core) abortMove(operationID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.facts.trial
	if !t.moves() || t.op.GetId() != operationID {
		return false
	}
	t.aborted, t.answered = true, true
	c.rollBack(c.life, "the operation was aborted")
	c.evaluate()
	return true
}

// settleMoved ends what a repave has begun: its network stays when root has brought
// the node part as well, and goes back when root has not. c.mu is held.
func (c *core) settleMoved() {
	f := &c.facts
	m := f.record.Moved
	if m == nil || f.trial != nil {
		return
	}
	last := f.operation.latest()
	switch applied := f.node.state.GetAppliedNodeDigest(); {
	case applied == m.NodeDigest && f.provisioned != nil && f.provisioned.msg.GetNodeDigest() == applied:
		c.keepMoved()
	case f.operation.running || f.operation.doorErr != nil || f.node.state == nil:
	case last.GetOperationId() == m.OperationID:
		if !succeeded(last) {
			c.restoreFormer("the operation that brought the network did not succeed")
		}
	case f.session.Connected:
		// After a restart: the plane sends an operation again that has not ended.
		if due := f.session.Since.Add(movedPatience); time.Now().Before(due) {
			c.wakeAt(due)
			return
		}
		c.restoreFormer("nobody knows the operation any more that brought the network")
	}
}

// handOver settles what a former operation has left of its network when another one
// begins: it is the new one's where that brings the same, and else goes back. c.mu is
// held.
func (c *core) handOver(op *agentv1.Operation, a *assignment) {
	m := c.facts.record.Moved
	if m == nil || m.OperationID == op.GetId() {
		return
	}
	if a == nil || !movesNode(op.GetKind()) || a.network.config().id() != c.facts.record.Confirmed.id() {
		c.restoreFormer("another operation begins")
		return
	}
	again := *m
	again.OperationID, again.NodeDigest = op.GetId(), op.GetNodeDigest()
	next := c.facts.record.clone()
	next.Moved = &again
	c.facts.record = *next
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down which operation the network belongs to", zap.Error(err))
	}
}

// keepMoved forgets the way back: the node part is in force as well.
func (c *core) keepMoved() {
	next := c.facts.record.clone()
	next.Moved = nil
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down that the network of an operation stays; tried again", zap.Error(err))
		return
	}
	c.facts.record = *next
}

// restoreFormer brings back the network from before an operation. It was confirmed,
// and is what the node part in force was made for, so it needs no trial.
func (c *core) restoreFormer(why string) {
	f := &c.facts
	m := f.record.Moved
	c.log.Warn("the former network is in force again", zap.String("op_id", m.OperationID), zap.String("reason", why))
	next := f.record.clone()
	next.Confirmed, next.Switched, next.Moved = m.Former, m.Switched, nil
	c.remember(m.NIC)
	c.failover.restart(m.Server)
	f.record, f.dropUnplanned = *next, true
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down that the former network is in force; a restart does it again", zap.Error(err))
	}
}

// settleLeave forgets the node that an operation has taken off the host: its network
// is nobody's any more. c.mu is held.
func (c *core) settleLeave() {
	f := &c.facts
	last := f.operation.progress
	left := last.GetKind() == agentv1.OperationKind_OPERATION_KIND_LEAVE && succeeded(last)
	if !left || f.provisioned == nil || f.node.state == nil || f.node.state.GetAppliedNodeDigest() != "" {
		return
	}
	for _, name := range []string{pendingFile, ProvisionedFile} {
		if err := c.cache.remove(name); err != nil {
			c.log.Error("cannot forget the node that has left", zap.Error(err))
			return // tried again with the next pass
		}
	}
	f.provisioned, f.pending = nil, nil
}
