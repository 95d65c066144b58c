package agent

import (
	"net/netip"

	"hybridagent/agent/config"
	"hybridagent/netcfg"
)

// planThrough plans the routes through the VPN server that is to be used now; c.mu
// is held.
func (c *core) planThrough(sel netcfg.Selection, intent netcfg.RouteIntent) (netcfg.Plan, error) {
	plan, err := netcfg.PlanRoutes(c.inv, sel, intent)
	if err != nil || intent.NotRequired() {
		return plan, err
	}
	intent.Active = plan.Active
	intent.MTU = c.routeMTU(intent.Active, sel)
	return netcfg.PlanRoutes(c.inv, sel, intent)
}

// routeMTU is the MTU that the routes through a server need, in bytes; 0: the
// link's. Only where larger packets vanish without a word is one set: what routers
// say of too large packets, the kernel hears itself.
func (c *core) routeMTU(server netip.Addr, sel netcfg.Selection) uint32 {
	if c.options.PathMTU != config.PathMTUSet {
		return 0
	}
	report := c.facts.path
	if p := report.Plan; p.Active == server && p.NIC == sel.Link.Name && p.Source == sel.NodeIP && report.MTU.Path > 0 {
		c.mtu = pathMTU{server: server, nic: sel.Link.Name, source: sel.NodeIP}
		if report.MTU.BlackHole && report.MTU.Path < sel.Link.MTU {
			c.mtu.bytes = uint32(report.MTU.Path)
		}
	}
	if c.mtu.server != server || c.mtu.nic != sel.Link.Name || c.mtu.source != sel.NodeIP {
		return 0
	}
	return c.mtu.bytes
}

// pathMTU is the MTU last found on one way; the zero value is of no way.
type pathMTU struct {
	server netip.Addr
	nic    string
	source netip.Addr
	bytes  uint32 // 0: none is needed
}
