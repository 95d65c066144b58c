package agent

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"hybridagent/netcfg"
)

// setTimeout bounds one write to the kernel, which takes microseconds unless the
// keeper is still starting.
const setTimeout = 10 * time.Second

// netResult is what the nic and routes stages found.
type netResult struct {
	inventoryErr error
	candidates   []netcfg.Candidate
	selected     bool
	selection    netcfg.Selection
	selectErr    error
	notRequired  bool
	vpnServer    netip.Addr           // in use
	servers      []netcfg.ServerPath  // that can be used
	unusable     []*netcfg.FieldError // VPN servers that cannot
	planErr      error
	setErr       error
}

// held returns the assignment whose network counts whatever the plane sends: the
// node's, or that of the operation that makes one; nil where there is none.
func (f *facts) held() *assignment {
	switch {
	case f.movedTo() != nil:
		return f.pending
	case f.isNode() && f.provisioned != nil:
		return f.provisioned
	case f.operation.running:
		return f.pending
	}
	return nil
}

// isNode says whether a Kubernetes node runs here, as far as is known.
func (f *facts) isNode() bool {
	return f.node.state.GetAppliedNodeDigest() != "" || f.node.state == nil && f.provisioned != nil
}

// network runs the nic and routes stages on the inventory at hand; c.mu is held.
// Where a stage refuses, what the kernel holds stays. Where nothing is confirmed,
// the stages only look, and none of our routes may be left.
func (c *core) network(ctx context.Context) {
	f := &c.facts
	n, ours := f.inForce()
	if !ours {
		f.net, _ = c.judge(f.asked(f.assignment))
		// Where nothing was ever assigned, or all is lost: hands off.
		if f.recorded || f.assignment != nil {
			f.net.setErr = c.set(ctx, netcfg.Desired{})
		}
		return
	}
	result, plan := c.judgeWith(n, c.planThrough)
	if result.selectErr == nil && result.planErr == nil {
		c.ownRoutes(plan.Routes)
		result.setErr = c.set(ctx, netcfg.Desired{Routes: plan.Routes, Rules: plan.Rules})
		if result.selected && f.trial == nil {
			c.remember(result.selection.Remember())
		}
		f.dropUnplanned = f.dropUnplanned && result.setErr != nil
	} else if f.dropUnplanned {
		result.setErr = c.set(ctx, netcfg.Desired{})
	}
	f.net = result
}

// judge selects the NIC and plans the routes of a network part, through its first
// VPN server; it touches nothing. c.mu is held.
func (c *core) judge(n network) (netResult, netcfg.Plan) {
	return c.judgeWith(n, func(sel netcfg.Selection, intent netcfg.RouteIntent) (netcfg.Plan, error) {
		return netcfg.PlanRoutes(c.inv, sel, intent)
	})
}

type planner func(netcfg.Selection, netcfg.RouteIntent) (netcfg.Plan, error)

func (c *core) judgeWith(n network, plans planner) (netResult, netcfg.Plan) {
	result := netResult{inventoryErr: c.facts.net.inventoryErr}
	result.selection, result.candidates, result.selectErr = netcfg.SelectNIC(c.inv, netcfg.SelectionInput{
		Selector: n.selector, VPNServers: n.vpnServers, RemoteNodeCIDRs: n.nodeCIDRs, Toward: n.toward,
		Sticky: c.stickyNIC(n), Hold: c.facts.isNode() && !n.move,
	})
	result.selected = result.selectErr == nil && len(n.vpcCIDRs) > 0
	if len(n.vpcCIDRs) == 0 {
		result.selectErr = nil
		return result, netcfg.Plan{}
	}
	if result.selectErr != nil {
		return result, netcfg.Plan{}
	}
	intent := netcfg.RouteIntent{
		VPCCIDRs: n.vpcCIDRs, VPNServers: n.vpnServers, Plane: c.planeAddrs(), Metric: c.options.RouteMetric, OnLink: c.options.OnLink,
	}
	result.notRequired = intent.NotRequired()
	plan, err := plans(result.selection, intent)
	result.planErr, result.vpnServer, result.servers, result.unusable = err, plan.Active, plan.Servers, plan.Unusable
	return result, plan
}

// stickyNIC is the NIC that a network is to stay on; none where it may move.
func (c *core) stickyNIC(n network) netcfg.Remembered {
	if n.move {
		return netcfg.Remembered{}
	}
	return c.facts.nic
}

// set hands the kernel's owner all that is to be there.
func (c *core) set(ctx context.Context, want netcfg.Desired) error {
	ctx, cancel := context.WithTimeout(ctx, setTimeout)
	defer cancel()
	want.Former = c.facts.record.Owned
	_, err := c.keeper.Set(ctx, want)
	return err
}

// ownRoutes writes down which routes are about to be ours, where that is not known
// yet. A disk that takes nothing keeps no host from its routes: it costs only that
// a later start may leave one behind. c.mu is held.
func (c *core) ownRoutes(routes []netcfg.Route) {
	ids := routeIDs(routes)
	if c.facts.record.owns(ids) {
		return
	}
	next := c.facts.record.clone()
	next.own(ids)
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down which routes are ours", zap.Error(err))
		return // tried again with the next pass
	}
	c.facts.record, c.facts.recorded = *next, true
}

// switchNetwork brings another network to the kernel; c.mu is held. The inventory
// at hand may be older than the host by the time that netlink events take. So the
// routes are written from it at once, then judged again with a fresh one.
func (c *core) switchNetwork(ctx context.Context) {
	c.network(ctx)
	if c.refresh(ctx) {
		c.network(ctx)
	}
}

// refresh reads the inventory anew; a failure is told by the next pass.
func (c *core) refresh(ctx context.Context) bool {
	inv, err := c.inventory(ctx)
	if err == nil {
		c.inv = inv
	}
	return err == nil
}

// remember keeps what is known of the NIC, so that the choice is sticky over
// restarts and new names; c.mu is held.
func (c *core) remember(nic netcfg.Remembered) {
	if nic.Equal(c.facts.nic) {
		return
	}
	c.facts.nic = nic
	if err := c.cache.saveNIC(nic); err != nil {
		c.log.Warn("cannot remember the selected NIC", zap.String("nic", nic.Name), zap.Error(err))
	}
}

// frozen says that the network in force is not the assignment's, which waits for a
// repave.
func (f *facts) frozen() bool {
	n, ours := f.inForce()
	return ours && f.held() != nil && f.assignment.inPool() && n.config().id() != f.assignment.network.config().id()
}
