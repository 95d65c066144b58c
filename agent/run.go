package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/config"
	"hybridagent/agent/local"
	"hybridagent/agent/metrics"
	"hybridagent/agent/neighbours"
	"hybridagent/agent/operation"
	"hybridagent/agent/path"
	"hybridagent/agent/session"
	"hybridagent/agent/store"
	"hybridagent/agent/timesync"
	"hybridagent/netcfg"
	"hybridagent/systemd"
)

// socketUnit is the unit whose socket systemd hands over.
const socketUnit = "hybrid-agent.socket"

// Options are what a daemon is made from.
type Options struct {
	// Config is checked: from config.Load.
	Config config.Config
	// Version is shown to operators and told to the plane.
	Version string
	// Log takes everything that the daemon has to say.
	Log *zap.Logger
	// Door is hybrid-agent-op; nil: the one at Config.Paths.OpSocket.
	Door Door

	crash func(point string) // see core
}

// Run is the daemon. It returns nil when ctx ends, and leaves its routes in the
// kernel. It returns an error at once where another daemon uses the same state.
func Run(ctx context.Context, opt Options) error {
	cfg, log := opt.Config, opt.Log
	if err := os.MkdirAll(cfg.Paths.State, 0o700); err != nil {
		return fmt.Errorf("cannot make the state directory: %w", err)
	}
	door := opt.Door
	if door == nil {
		door = operation.NewClient(cfg.Paths.OpSocket)
	}
	c, keeper := newCore(opt, door)
	plane := newPlaneTask(log.Named("plane"), cfg, c, door)
	c.netChange = func() { plane.networkChanged(); c.time.NetworkChanged() }
	// The keeper subscribes and the inventory is read while the state is: the
	// route of a host that starts waits for the slowest of the three only. The
	// keeper writes nothing before it is told what is wanted.
	group := newTaskGroup(ctx)
	c.life = group.ctx
	defer c.background.Wait()
	c.ping = plane.ping
	group.start(keeper)
	inventory := c.readAhead(group.ctx)
	lock, err := openState(cfg.Paths.State, c)
	if err != nil {
		return group.abandon(err)
	}
	defer func() { _ = lock.Release() }()
	group.start(&pipeline{core: c, keeper: keeper, first: inventory, ready: make(chan struct{})})

	// Nothing from here on is needed for the route.
	if err := plane.load(); err != nil {
		return group.abandon(err)
	}
	listener, err := localListener(ctx, cfg.Paths.Socket)
	if err != nil {
		return group.abandon(err)
	}
	group.start(
		c.path, c.time, c.node, c.units, c.ops, plane,
		local.NewServer(log.Named("local"), listener, c, c),
		metrics.NewServer(log.Named("metrics"), cfg.Metrics.Listen, c),
		newWatchdog(log, c),
	)
	err = group.wait(func() error {
		log.Info("ready", zap.String("version", opt.Version), zap.Duration("after", time.Since(c.started)))
		return systemd.Notify(systemd.Ready)
	})
	_ = systemd.Notify(systemd.Stopping) // nobody is left to tell of a failure
	return err
}

// openState takes the lock and reads the assignments that are cached under it.
func openState(dir string, c *core) (*store.Lock, error) {
	lock, err := store.Acquire(dir)
	if err != nil {
		return nil, err
	}
	if err := c.load(); err != nil {
		_ = lock.Release()
		return nil, err
	}
	return lock, nil
}

// newCore wires the pipeline and its slow stages.
func newCore(opt Options, door Door) (*core, *netcfg.Keeper) {
	log := opt.Log
	c := &core{
		log: log.Named("pipeline"), version: opt.Version, plane: opt.Config.Plane.Address, started: time.Now(),
		inventory: netcfg.ReadInventory, cache: cache{dir: opt.Config.Paths.State}, outbox: session.NewOutbox(),
		host: readHost(), now: time.Now, wake: make(chan struct{}, 1),
		options: opt.Config.Network, proxy: proxyAddress(), crash: opt.crash,
	}
	if c.crash == nil {
		c.crash = func(string) {}
	}
	c.passing.start, c.taking.start = c.started, c.started
	keeper := netcfg.NewKeeper(log.Named("netcfg"), netcfg.KeeperOptions{
		ResyncInterval: opt.Config.Network.ResyncInterval,
		OnRepair:       func(netcfg.Repair) { c.notify() },
		OnForeign:      func([]netcfg.Route) { c.notify() },
		Rival:          neighbours.Local().Rival,
	})
	c.keeper = keeper
	c.path = path.NewMonitor(path.System(), c.notify)
	c.path.OnServer = c.observe
	c.time = timesync.NewMonitor(timesync.Ask, c.notify)
	c.node = newNodeMonitor(log.Named("node"), door, c.outbox)
	c.node.changed = c.notify
	unitsChanged := func() { c.notify(); c.ops.look() }
	c.units = systemd.NewUnitWatch(unitsChanged, containerdUnit, kubeletUnit, ssmAgentUnit, ssmSnapUnit)
	c.node.units = c.units.States
	c.ops = newOperations(log.Named("operations"), door, c.outbox)
	c.ops.switchServers, c.ops.moveNetwork, c.ops.abortMove = c.switchServers, c.moveNetwork, c.abortMove
	c.ops.begin, c.ops.changed, c.ops.ended = c.beginOperation, c.notify, c.node.read
	pin := operation.Pin(opt.Config.Plane.PinSum())
	c.ops.trust = func() operation.Trust {
		c.mu.Lock()
		defer c.mu.Unlock()
		return operation.Trust{Pins: []operation.Pin{pin}, HostID: c.facts.hostID.ID, Network: true}
	}
	return c, keeper
}

// localListener takes systemd's socket, or makes one where systemd gave none.
func localListener(ctx context.Context, path string) (net.Listener, error) {
	passed, err := systemd.Listeners()
	if err != nil {
		return nil, err
	}
	if listener, ok := systemd.Listener(passed, socketUnit); ok {
		return listener, nil
	}
	return local.Listen(ctx, path)
}

// newWatchdog feeds systemd's watchdog while the pipeline moves.
func newWatchdog(log *zap.Logger, c *core) Task {
	interval, err := systemd.WatchdogInterval()
	if err != nil {
		log.Warn("the watchdog is off", zap.Error(err))
	}
	return systemd.NewWatchdog(interval, c.moving)
}

// pipeline is the task that runs the stages when something woke them.
type pipeline struct {
	core   *core
	keeper interface {
		Ready() <-chan struct{}
		Changes() <-chan struct{}
	}
	// first is the inventory for the first pass.
	first func() (netcfg.Inventory, error)
	ready chan struct{}
}

// String names the task.
func (p *pipeline) String() string { return "pipeline" }

// Ready is closed after the first pass: what is cached is applied where possible.
func (p *pipeline) Ready() <-chan struct{} { return p.ready }

// Run works until ctx ends; then it returns nil.
func (p *pipeline) Run(ctx context.Context) error {
	select {
	case <-p.keeper.Ready():
	case <-ctx.Done():
		return nil
	}
	p.core.passWith(ctx, p.first)
	close(p.ready)
	// The first inventory may be older than the keeper's subscription: what
	// changed between the two woke nobody.
	p.core.pass(ctx, true)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.keeper.Changes():
			p.core.pass(ctx, true)
		case <-p.core.wake:
			p.core.pass(ctx, false)
		}
	}
}

// Connects counts streams that the plane welcomed, for metrics.
func (c *core) Connects() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.facts.session.Connects
}
