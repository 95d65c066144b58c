package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// trial is a change of the network that is not confirmed: of an assignment, or of
// a live switch. It is on disk before it is in the kernel.
type trial struct {
	rule    netcfg.Trial
	network network
	next    *assignment        // brings it; nil: a live switch does
	op      *agentv1.Operation // the live switch or the repave; nil: an assignment brings it
	former  *assignment        // in force before a first one
	nic     netcfg.Remembered  // selected before
	server  netip.Addr         // VPN server in use before

	latest   time.Time // the confirmed network returns then, also if something newer takes this one's place
	way      string    // by which the plane was called: another one asks for another call
	answered bool      // by the plane, on a connection made since
	waits    string    // for what, in words
	stop     context.CancelFunc
	over     chan struct{} // closed at its end
	failure  error         // why it was rolled back; set before over is closed
	aborted  bool          // the operation was; set before over is closed
}

// origin names what asked for the trial.
func (t *trial) origin() string {
	if t.op != nil {
		return "operation " + t.op.GetId()
	}
	return fmt.Sprintf("assignment %d", t.next.update.GetGeneration())
}

// live says whether a live switch brings it, moves whether a repave does.
func (t *trial) live() bool  { return t != nil && t.op.GetKind() == liveSwitch }
func (t *trial) moves() bool { return t != nil && t.op != nil && !t.live() }

func (t *trial) generation() uint64 {
	if t.next == nil {
		return 0
	}
	return t.next.update.GetGeneration()
}

// errReplaced ends a trial because something newer came.
var errReplaced = errors.New("something newer took its place before it was confirmed")

// begin writes the trial to disk, then to the kernel. With an error, which is the
// disk's, or with refusals, which are this host's network's, nothing has changed;
// else the trial runs, or has been rolled back already because the kernel refused
// it. c.mu is held.
func (c *core) begin(ctx context.Context, t *trial) ([]*agentv1.FieldRefusal, error) {
	f := &c.facts
	c.offered.onDisk = false
	_, plan := c.judge(t.network)
	t.nic, t.server, t.latest = f.nic, f.net.vpnServer, t.rule.Began.Add(2*c.options.TrialTimeout)
	next := f.record.clone()
	if old := f.trial; old != nil {
		t.server, t.latest = old.server, old.latest
		c.closeSwitch(next, old)
	}
	next.Trial = &trialRecord{
		Network: t.network.config(), Generation: t.generation(), First: t.rule.First, NIC: t.nic, Server: t.server, BeganAt: c.now(),
	}
	next.own(routeIDs(plan.Routes))
	if t.moves() {
		next.Trial.Operation = t.op.GetId()
	}
	if t.live() {
		next.Switch = c.switchEnd(t.op, 0, "")
	}
	c.crash("before-record")
	if err := c.cache.saveNetwork(next); err != nil {
		return nil, err
	}
	c.crash("recorded")
	if f.trial != nil {
		c.replaceTrial()
	}
	f.record, f.recorded, f.trial = *next, true, t
	if t.rule.First && t.next != nil {
		t.former, f.assignment, f.fromCache = f.assignment, t.next, false
	}
	t.over = make(chan struct{})
	c.failover.restart(t.network.first())
	c.switchNetwork(ctx)
	c.crash("in-kernel")
	if refusals := f.net.refusals(); len(refusals) > 0 {
		c.withdraw(ctx) // found out with a fresh look at the host only
		return refusals, nil
	}
	if refused := f.net.setErr; refused != nil {
		c.rollBack(ctx, "the kernel does not take it: "+refused.Error())
		return nil, nil //nolint:nilerr // rolled back and told
	}
	c.log.Info("network on trial", zap.String("origin", t.origin()), zap.Strings("plane_moves", texts(plan.PlaneMoves)), zap.Time("until", t.rule.Deadline))
	c.callAgain(t)
	c.wakeAt(t.rule.Deadline)
	return nil, nil
}

func routeIDs(routes []netcfg.Route) []netcfg.RouteID {
	ids := make([]netcfg.RouteID, 0, len(routes))
	for _, r := range routes {
		ids = append(ids, r.ID())
	}
	return ids
}

// judgeTrial ends the trial under way where what is known suffices; c.mu is held.
func (c *core) judgeTrial(ctx context.Context) {
	t := c.facts.trial
	if t == nil {
		return
	}
	grade, measured := c.grade()
	if t.way != c.facts.wholeWay() {
		c.callAgain(t)
	}
	// What is not in the kernel cannot be judged.
	there := c.facts.net.failure() == nil
	decision, why := t.rule.Judge(netcfg.Evidence{
		Now: time.Now(), PlaneAnswered: t.answered && there, Path: grade, PathMeasured: measured && there, Rounds: int(c.facts.path.Round),
	})
	switch decision {
	case netcfg.DecisionConfirm:
		c.confirmTrial(ctx)
	case netcfg.DecisionRollback:
		c.rollBack(ctx, why)
	default:
		t.waits = why
		c.wakeAt(t.rule.Deadline)
	}
}

// confirmTrial makes the network under trial the one that a restart finds; c.mu is
// held. Where the disk does not take it, the former one returns: what is in force
// and what a restart would bring must not differ.
func (c *core) confirmTrial(ctx context.Context) {
	f := &c.facts
	t := f.trial
	if t.next != nil && f.asked(t.next).config().id() != t.network.config().id() {
		c.rollBack(ctx, "the network of the node that was made meanwhile counts")
		return
	}
	next := f.record.clone()
	next.Trial, next.Confirmed = nil, t.network.config()
	if t.next != nil {
		next.Generation = t.generation()
	}
	if next.RolledBack != nil && next.RolledBack.Network.id() == next.Confirmed.id() {
		next.RolledBack = nil
	}
	if t.moves() {
		next.Moved, next.Switched = f.moved(t), nil
	}
	if t.live() {
		next.Switched = &switchedServers{Over: f.base(f.assignment).config().id(), VPNServers: t.network.vpnServers}
		next.Switch = c.switchEnd(t.op, agentv1.OperationState_OPERATION_STATE_SUCCEEDED, "the new VPN servers are confirmed")
	}
	c.crash("before-confirm")
	if err := c.cache.saveNetwork(next); err != nil {
		c.offered.onDisk = true
		c.rollBack(ctx, fmt.Sprintf("it works, but cannot be kept: %v; make room or repair the disk", err))
		return
	}
	c.crash("confirmed")
	f.record = *next
	c.endTrial(nil)
	c.remember(f.net.selection.Remember())
	c.log.Info("network confirmed", zap.String("origin", t.origin()))
	if t.next == nil {
		return
	}
	if t.rule.First {
		f.assignment = t.former // until it is on disk
	}
	c.answer(t.next.update, c.adopt(t.next))
}

// rollBack brings the last confirmed network back; c.mu is held. The kernel comes
// before the disk: a restart in between finds the trial on disk, and rolls it back
// as well.
func (c *core) rollBack(ctx context.Context, why string) {
	f := &c.facts
	t := f.trial
	c.log.Warn("network rolled back", zap.String("origin", t.origin()), zap.String("reason", why))
	if t.rule.First && t.next != nil {
		f.assignment = t.former
	}
	c.endTrial(errors.New(why))
	f.dropUnplanned = true
	c.remember(t.nic)
	c.failover.restart(t.server)
	c.network(ctx)
	c.crash("rolled-back-in-kernel")
	next := f.record.clone()
	next.Trial = nil
	short := t.rule.Deadline.Sub(t.rule.Began) < c.options.TrialTimeout
	if !c.offered.onDisk && !short && !t.moves() {
		next.RolledBack = &rolledBack{Network: t.network.config(), Generation: t.generation(), Reason: why, At: c.now()}
	}
	if t.live() {
		next.Switch = c.switchEnd(t.op, agentv1.OperationState_OPERATION_STATE_FAILED, rolledBackMessage(why))
	}
	f.record = *next
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down that the network was rolled back; a restart does it again", zap.Error(err))
	}
	if t.next == nil {
		return
	}
	c.offered.next, c.offered.held = t.next, !c.offered.onDisk && !short
	if short && !c.offered.onDisk {
		c.offered.waits, c.offered.since = true, time.Now() // it had less than its time
	}
	if c.offered.onDisk {
		c.retryIn(time.Second + c.offered.backoff.Next())
	}
	c.answer(t.next.update, f.rolledBackRefusals(t.network, why))
	if !t.answered {
		c.background.Go(func() { c.reconsider(next.RolledBack) })
	}
}

func rolledBackMessage(why string) string {
	return brief("rolled back, the former network is in force: "+why, maxMessage)
}

// endTrial forgets the trial under way; c.mu is held.
func (c *core) endTrial(failure error) {
	t := c.facts.trial
	c.facts.trial = nil
	t.failure = failure
	if t.stop != nil {
		t.stop()
	}
	close(t.over)
}

// replaceTrial ends the trial under way because something newer takes its place, and
// takes back what a first one has put before its time; c.mu is held.
func (c *core) replaceTrial() {
	if t := c.facts.trial; t.rule.First && t.next != nil {
		c.facts.assignment = t.former
	}
	c.endTrial(errReplaced)
}

// closeSwitch writes down that a live switch does not come to its end; c.mu is held.
func (c *core) closeSwitch(next *networkRecord, t *trial) {
	if t.live() {
		next.Switch = c.switchEnd(t.op, agentv1.OperationState_OPERATION_STATE_FAILED, rolledBackMessage(errReplaced.Error()))
	}
}

// failure is what keeps the network in force out of the kernel; nil: nothing.
func (n *netResult) failure() error { return errors.Join(n.selectErr, n.planErr, n.setErr) }

// rolledBackRefusals names the fields in which a network differs from the one that
// is confirmed.
func (f *facts) rolledBackRefusals(n network, why string) []*agentv1.FieldRefusal {
	reason := brief("it was tried and rolled back: "+why+`; correct it, or try it again with "hybridctl host retry-network HOST", or "hybrid-agent network retry" on the host`, maxRefusal)
	former := f.record.Confirmed
	if former == nil {
		former = &networkConfig{}
	}
	var out []*agentv1.FieldRefusal
	add := func(differs bool, field string) {
		if differs {
			out = append(out, &agentv1.FieldRefusal{Field: field, Reason: reason})
		}
	}
	tried := n.config()
	add(!slices.Equal(former.VPNServers, tried.VPNServers), netcfg.FieldVPNServers)
	add(!slices.Equal(former.VPCCIDRs, tried.VPCCIDRs), netcfg.FieldVPCCIDRs)
	add(former.NICName != tried.NICName || former.NICMAC != tried.NICMAC, netcfg.FieldNIC)
	if len(out) == 0 {
		add(true, "network.remote_node_cidrs")
	}
	return out
}
