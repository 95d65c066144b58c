package agent

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/session"
	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// base is what asks for the network: the assignment that the node was made from,
// or that of the operation that makes one, or else the given one.
func (f *facts) base(a *assignment) network {
	switch held := f.held(); {
	case held != nil:
		a = held
	case f.isNode() && f.record.Confirmed != nil:
		// What the node was made from is lost: its network stays until a repave.
		return f.record.Confirmed.network(f.toward(a))
	}
	if !a.inPool() {
		return network{selector: netcfg.Selector{Auto: true}}
	}
	n := a.network
	n.toward = f.toward(a)
	return n
}

// toward is live: it is what is probed now.
func (f *facts) toward(a *assignment) []netip.Addr {
	if f.assignment.inPool() {
		return f.assignment.network.toward
	}
	if a != nil {
		return a.network.toward
	}
	return nil
}

// asked is the network that is to be in force with an assignment: its base, with
// the servers of a live switch in place of that network's own.
func (f *facts) asked(a *assignment) network {
	n := f.base(a)
	if s := f.record.Switched; s != nil && s.Over == n.config().id() {
		n.vpnServers = s.VPNServers
	}
	return n
}

// inForce returns the network that the kernel is to hold: the one on trial, else
// the confirmed one; false where there is none.
func (f *facts) inForce() (network, bool) {
	switch {
	case f.trial != nil:
		return f.trial.network, true
	case f.record.Confirmed != nil:
		return f.record.Confirmed.network(f.toward(nil)), true
	}
	return network{}, false
}

// loadNetwork takes the record; c.mu is held. A trial that is found on disk was cut
// off: what it wanted is rolled back. Where there is no record, an earlier version
// ran here, or it was damaged: what the cached assignments say counts as confirmed.
func (c *core) loadNetwork() error {
	f := &c.facts
	record, err := c.cache.loadNetwork()
	if err != nil {
		c.log.Error("what was known of the network is lost", zap.Error(err))
	}
	if record == nil {
		f.record = networkRecord{}
		if n := f.base(f.assignment); len(n.vpcCIDRs) > 0 {
			f.record.Confirmed, f.record.Generation = n.config(), f.assignment.generation()
		}
		return err
	}
	f.record, f.recorded = *record, true
	if cut := record.Trial; cut != nil {
		f.record = *c.cutOff(record)
		if err := c.cache.saveNetwork(&f.record); err != nil {
			c.log.Warn("cannot write down that the network was rolled back; the next start does it again", zap.Error(err))
		}
	}
	if back := f.record.RolledBack; back != nil && back.Generation > 0 {
		f.refused = &agentv1.AssignmentResult{
			Generation: back.Generation, Refusals: f.rolledBackRefusals(back.Network.network(nil), back.Reason),
		}
	}
	return nil
}

// cutOff is a record without the trial that a restart has found in it. A first
// install is tried again: there was nothing before it that it could have harmed.
func (c *core) cutOff(record *networkRecord) *networkRecord {
	const why = "the agent or the host was restarted before it was confirmed"
	next := record.clone()
	cut := next.Trial
	next.Trial = nil
	c.remember(cut.NIC)
	c.facts.dropUnplanned = true
	c.failover.restart(cut.Server)
	if !cut.First && cut.Operation == "" { // the plane sends an operation again that has not begun
		next.RolledBack = &rolledBack{Network: cut.Network, Generation: cut.Generation, Reason: why, At: c.now()}
	}
	if s := next.Switch; s != nil && s.State == 0 {
		end := *s
		end.State, end.Message, end.EndedAt = int32(agentv1.OperationState_OPERATION_STATE_FAILED), rolledBackMessage(why), c.now()
		next.Switch = &end
	}
	c.log.Warn("a trial of the network was cut off; the former network is in force", zap.Uint64("generation", cut.Generation))
	return next
}

// adopt makes an assignment the one in force, whose network is confirmed already,
// and keeps it on disk; c.mu is held.
func (c *core) adopt(next *assignment) []*agentv1.FieldRefusal {
	f := &c.facts
	if err := c.cache.save(AssignmentFile, next); err != nil {
		return c.diskRefuses(next, err)
	}
	c.crash("assignment-saved")
	f.assignment, f.fromCache = next, false
	f.record.Generation = min(f.record.Generation, next.generation()) // a rebuilt plane counts anew
	c.settleSwitch()
	c.log.Info("assignment in force", zap.Uint64("generation", next.update.GetGeneration()), zap.String("pool", next.msg.GetPool()))
	return nil
}

// settleSwitch ends a live switch over a network that nothing asks for any more, and
// remembers the node part that one accounts for; c.mu is held.
func (c *core) settleSwitch() {
	f := &c.facts
	s := f.record.Switched
	if s == nil {
		return
	}
	next := f.record.clone()
	switch a := f.assignment; {
	case s.Over != f.base(a).config().id():
		next.Switched = nil
	case s.NodeDigest == "" && f.isNode() && a.inPool() && a.network.config().id() == f.record.Confirmed.id():
		explained := *s
		explained.NodeDigest = a.msg.GetNodeDigest()
		next.Switched = &explained
	default:
		return
	}
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down what became of a live switch", zap.Error(err))
		return // tried again with the next pass
	}
	f.record = *next
}

// diskRefuses has an assignment tried again by the clock, since no event tells when
// a disk takes it; c.mu is held.
func (c *core) diskRefuses(next *assignment, err error) []*agentv1.FieldRefusal {
	c.offered.next, c.offered.onDisk = next, true
	c.retryIn(time.Second/2 + c.offered.backoff.Next()/2)
	return []*agentv1.FieldRefusal{{Field: "assignment", Reason: err.Error() + "; make room or repair the disk, the agent tries again by itself"}}
}

// forget takes our routes out of the kernel: the host is in no NodePool any more.
// Nothing can be tried there, since without a pool nothing says what is to be
// reached. c.mu is held.
func (c *core) forget(ctx context.Context) error {
	f := &c.facts
	if f.record.Confirmed == nil && f.trial == nil && f.record.RolledBack == nil {
		return nil
	}
	next := f.record.clone()
	next.Confirmed, next.Trial, next.RolledBack, next.Switched, next.Moved, next.Generation = nil, nil, nil, nil, nil, 0
	c.closeSwitch(next, f.trial)
	if err := c.cache.saveNetwork(next); err != nil {
		return err
	}
	if f.trial != nil {
		c.replaceTrial()
	}
	f.record, f.recorded = *next, true
	return nil
}

func newBackoff() session.Backoff { return session.Backoff{First: time.Second, Cap: time.Minute} }
