package agent

import (
	"net/netip"
	"sync"
	"time"

	"hybridagent/agent/config"
	"hybridagent/netcfg"
)

// failover is the choice among the VPN servers, with a lock of its own: probes come
// in while the pipeline works.
type failover struct {
	mu    sync.Mutex
	state netcfg.Failover
	why   string // the server in use is that one
}

// observe takes what a probe through one VPN server found.
func (c *core) observe(server netip.Addr, ok bool, at time.Time) {
	c.failover.mu.Lock()
	c.failover.state.Observe(server, ok, at)
	c.failover.mu.Unlock()
	c.notify()
}

// choose is the server that the routes are to lead through; c.mu is held.
func (c *core) choose(servers []netcfg.ServerPath) netip.Addr {
	usable := make([]netip.Addr, 0, len(servers))
	for _, s := range servers {
		usable = append(usable, s.Server)
	}
	f := &c.failover
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	active, why := f.state.Choose(usable, now)
	f.why = why
	if next, ok := f.state.Next(now); ok {
		c.wakeAt(next)
	}
	return active
}

// restart forgets what is known of the servers: another network begins with its
// first one, or with that which it used before; invalid: none.
func (f *failover) restart(with netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.why = netcfg.Failover{}, ""
	f.state.Resume(with)
}

// resume begins with the server that the kernel's routes lead through: a daemon that
// restarts on a standby must not go back to a server that is dead.
func (c *core) resume() {
	for _, r := range c.inv.Routes {
		if r.Own() && r.Table == netcfg.TableMain {
			c.failover.mu.Lock()
			c.failover.state.Resume(r.Gateway)
			c.failover.mu.Unlock()
			return
		}
	}
}

// planThrough plans the routes through the VPN server that is to be used now, with
// the MTU that its path needs; c.mu is held.
func (c *core) planThrough(sel netcfg.Selection, intent netcfg.RouteIntent) (netcfg.Plan, error) {
	plan, err := netcfg.PlanRoutes(c.inv, sel, intent)
	if err != nil || intent.NotRequired() {
		return plan, err
	}
	c.resume()
	intent.Active = c.choose(plan.Servers)
	intent.MTU = c.routeMTU(intent.Active, sel)
	if intent.Active == plan.Active && intent.MTU == 0 {
		return plan, nil
	}
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
