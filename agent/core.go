package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/config"
	"hybridagent/agent/hostid"
	"hybridagent/agent/identity"
	"hybridagent/agent/path"
	"hybridagent/agent/session"
	"hybridagent/agent/store"
	"hybridagent/agent/timesync"
	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	"hybridagent/systemd"
)

// routeKeeper is the kernel's side: netcfg.Keeper.
type routeKeeper interface {
	Set(ctx context.Context, want netcfg.Desired) (netcfg.Achieved, error)
	Status() netcfg.KeeperStatus
}

// core is the pipeline: it holds what is wanted and what the stages found, and
// turns one into the other. The slow stages run in tasks of their own and only
// leave results; an assignment goes through the fast ones on the goroutine that
// received it, so that nothing but work lies between the plane and the kernel.
type core struct {
	log       *zap.Logger
	version   string
	plane     string // plane.address
	proxy     string // host:port; empty: none
	started   time.Time
	keeper    routeKeeper
	inventory func(ctx context.Context) (netcfg.Inventory, error)
	cache     cache
	outbox    *session.Outbox
	path      *path.Monitor
	time      *timesync.Monitor
	node      *nodeMonitor
	units     *systemd.UnitWatch
	ops       *operations
	host      *agentv1.Inventory // what does not change: OS, kernel, memory
	now       func() time.Time
	wake      chan struct{}
	netChange func() // told when NIC or addresses changed
	options   config.Network
	ping      func(context.Context) error // calls the plane on a new connection
	// life ends with the daemon; background is what runs until then.
	life       context.Context
	background sync.WaitGroup
	// crash is a seam for tests: it is told each point at which a power cut may
	// leave something half done.
	crash func(point string)

	mu         sync.Mutex
	facts      facts
	inv        netcfg.Inventory
	failover   failover
	mtu        pathMTU
	alarm      *time.Timer
	alarmAt    time.Time
	conditions []*agentv1.Condition
	offered    offered

	passing, taking work // what the watchdog looks at
}

// facts is all that conditions are computed from.
type facts struct {
	hostID      hostid.ID
	identity    *identity.Identity
	enrollErr   error
	session     session.State
	cacheErr    error
	assignment  *assignment // in force
	fromCache   bool
	provisioned *assignment // its node part was applied
	pending     *assignment // its node part is being applied
	refused     *agentv1.AssignmentResult
	net         netResult
	routes      netcfg.KeeperStatus
	path        path.Report
	time        timesync.Report
	node        nodeFacts
	operation   operationFacts
	nic         netcfg.Remembered // selected last
	record      networkRecord
	recorded    bool   // it is on disk
	trial       *trial // under way; nil: none
	// dropUnplanned says that a trial has left routes in the kernel that go also where
	// the network in force cannot be planned now.
	dropUnplanned bool
}

// notify wakes the pipeline; many calls before it runs are one.
func (c *core) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// load takes the cached state. A damaged file costs what was in it, not the daemon;
// one that a newer version wrote is an error: going on would overwrite it.
func (c *core) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &c.facts
	var errs []error
	for name, into := range map[string]**assignment{
		AssignmentFile: &f.assignment, ProvisionedFile: &f.provisioned, pendingFile: &f.pending,
	} {
		a, err := c.cache.load(name)
		var schema *store.SchemaError
		if errors.As(err, &schema) {
			return err
		}
		if err != nil {
			c.log.Error("cached state is lost", zap.String("file", name), zap.Error(err))
			errs = append(errs, err)
		}
		*into = a
	}
	f.cacheErr = errors.Join(errs...)
	f.fromCache = f.assignment != nil
	f.nic = c.cache.loadNIC()
	if err := c.loadNetwork(); err != nil {
		var schema *store.SchemaError
		if errors.As(err, &schema) {
			return err
		}
		f.cacheErr = errors.Join(f.cacheErr, err)
	}
	return nil
}

// pass runs the pipeline; fresh says that links, addresses or routes may have
// changed since the last one.
func (c *core) pass(ctx context.Context, fresh bool) {
	if fresh {
		c.passWith(ctx, func() (netcfg.Inventory, error) { return c.inventory(ctx) })
		return
	}
	c.passWith(ctx, nil)
}

// passWith is pass with an inventory from elsewhere; nil: the one at hand.
func (c *core) passWith(ctx context.Context, inventory func() (netcfg.Inventory, error)) {
	defer c.passing.begin()()
	var inv netcfg.Inventory
	var err error
	if inventory != nil {
		inv, err = inventory()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if inventory != nil {
		c.facts.net.inventoryErr = err
		if err == nil {
			c.inv = inv
		}
	}
	before := c.facts.net.selection.NodeIP
	c.gather()
	c.settleMoved()
	c.network(ctx)
	c.judgeTrial(ctx)
	c.offerAgain(ctx, inventory != nil)
	c.reconcile(ctx)
	if before != c.facts.net.selection.NodeIP && c.netChange != nil {
		c.netChange()
	}
	c.evaluate()
}

// readAhead begins to read the inventory and returns how to wait for it.
func (c *core) readAhead(ctx context.Context) func() (netcfg.Inventory, error) {
	type result struct {
		inv netcfg.Inventory
		err error
	}
	done := make(chan result, 1)
	go func() {
		inv, err := c.inventory(ctx)
		done <- result{inv, err}
	}()
	return func() (netcfg.Inventory, error) { r := <-done; return r.inv, r.err }
}

// gather takes what the slow stages left; c.mu is held.
func (c *core) gather() {
	f := &c.facts
	f.path, f.time = c.path.Report(), c.time.Report()
	f.node, f.operation = c.node.facts(), c.ops.facts()
	c.settleOperation()
}

// evaluate computes conditions from what was gathered and hands them on; c.mu is
// held.
func (c *core) evaluate() {
	f := &c.facts
	f.routes = c.keeper.Status()
	c.instruct()
	now := c.now()
	c.conditions = carrySince(c.conditions, computeConditions(f, now), now)
	if f.hostID.ID != "" {
		c.outbox.SetInventory(hostInventory(c.host, f.net.candidates))
		c.outbox.SetStatus(c.hostStatus())
	}
}
