package agent

import (
	"context"
	"net/netip"
	"slices"
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
	vpnServer    netip.Addr
	planErr      error
	setErr       error
}

// inForce returns the network part that counts now. Once the node exists it is
// the one it was provisioned with, until an operation brings another; frozen says
// that it is not the assignment's own.
func (f *facts) inForce() (n network, ok, frozen bool) {
	current := f.assignment
	if held := f.held(); held != nil {
		return held.network, true, held != current && !sameNetwork(held, current)
	}
	if current.inPool() {
		return current.network, true, false
	}
	return network{selector: netcfg.Selector{Auto: true}}, current != nil, false
}

// held returns the assignment whose network counts whatever the plane sends: the
// node's, or that of the operation that makes one; nil where there is none.
func (f *facts) held() *assignment {
	provisioned := f.node.state.GetAppliedNodeDigest() != "" || f.node.state == nil && f.provisioned != nil
	switch {
	case provisioned && f.provisioned != nil:
		return f.provisioned
	case f.operation.running:
		return f.pending
	}
	return nil
}

// network runs the nic and routes stages on the inventory at hand; c.mu is held.
// Where a stage refuses, what the kernel holds stays.
func (c *core) network(ctx context.Context) {
	f := &c.facts
	n, known, frozen := f.inForce()
	f.networkFrozen = frozen
	result, routes := c.judge(n)
	// Where nothing was ever assigned, or the cache is lost: hands off.
	refused := len(n.vpcCIDRs) > 0 && result.selectErr != nil || result.planErr != nil
	if known && !refused {
		result.setErr = c.setRoutes(ctx, routes)
		if result.selected {
			c.remember(result.selection.Link.Name)
		}
	}
	f.net = result
}

// judge selects the NIC and plans the routes of a network part; it touches
// nothing. c.mu is held.
func (c *core) judge(n network) (netResult, []netcfg.Route) {
	result := netResult{inventoryErr: c.facts.net.inventoryErr}
	result.selection, result.candidates, result.selectErr = netcfg.SelectNIC(c.inv, netcfg.SelectionInput{
		Selector: n.selector, VPNServers: n.vpnServers, RemoteNodeCIDRs: n.nodeCIDRs, Toward: n.toward, Sticky: netcfg.Remembered{Name: c.facts.stickyNIC},
	})
	result.selected = result.selectErr == nil && len(n.vpcCIDRs) > 0
	if len(n.vpcCIDRs) > 0 && result.selectErr != nil {
		return result, nil
	}
	intent := netcfg.RouteIntent{VPCCIDRs: n.vpcCIDRs, VPNServers: n.vpnServers}
	plan, err := netcfg.PlanRoutes(c.inv, result.selection, intent)
	result.vpnServer, result.notRequired, result.planErr = plan.Active, intent.NotRequired(), err
	// The keeper holds the main table only.
	return result, slices.DeleteFunc(plan.Routes, func(r netcfg.Route) bool { return r.Table != netcfg.TableMain })
}

func (c *core) setRoutes(ctx context.Context, routes []netcfg.Route) error {
	ctx, cancel := context.WithTimeout(ctx, setTimeout)
	defer cancel()
	_, err := c.keeper.Set(ctx, netcfg.Desired{Routes: routes})
	c.wanted = routes
	return err
}

// switchNetwork brings a new assignment to the kernel; c.mu is held. The inventory
// at hand may be older than the host by the time that netlink events take. So the
// routes are written from it at once, then judged again with a fresh one: what
// that refuses is taken back before anybody is told that it is in force.
func (c *core) switchNetwork(ctx context.Context) {
	before := c.wanted
	c.network(ctx)
	inv, err := c.inventory(ctx)
	if err != nil {
		return // told by the next pass
	}
	c.inv = inv
	c.network(ctx)
	if refused := c.facts.net.planErr != nil || c.facts.net.selectErr != nil; refused && !slices.Equal(before, c.wanted) {
		c.facts.net.setErr = c.setRoutes(ctx, before)
	}
}

// remember keeps the NIC's name, so that the choice is sticky over restarts.
func (c *core) remember(nic string) {
	if nic == c.facts.stickyNIC {
		return
	}
	c.facts.stickyNIC = nic
	if err := c.cache.saveNIC(nic); err != nil {
		c.log.Warn("cannot remember the selected NIC", zap.String("nic", nic), zap.Error(err))
	}
}

// sameNetwork compares what the node part says of the network.
func sameNetwork(a, b *assignment) bool {
	if a == nil || b == nil {
		return a == b
	}
	return len(networkDifferences(a.msg.GetNode(), b.msg.GetNode())) == 0
}
