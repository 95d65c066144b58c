package netcfg

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Keeper is the only writer of routes and policy rules: it installs what Set wants
// and puts it back at once when it disappears. One Keeper per network namespace.
type Keeper struct {
	log     *zap.Logger
	opt     KeeperOptions
	ready   chan struct{}
	done    chan struct{}
	changes chan struct{}
	kick    chan struct{}

	mu      sync.Mutex
	started bool
	req     *requestConn // nil while Run does not run
	look    *requestConn // for the maintenance loop, which reads without mu
	model
	sched
}

// NewKeeper returns a Keeper; Run makes it work.
func NewKeeper(log *zap.Logger, opt KeeperOptions) *Keeper {
	if opt.Rival == nil {
		opt.Rival = procRival("/proc")
	}
	if opt.eventBuffer == 0 {
		opt.eventBuffer = eventBuffer
	}
	return &Keeper{
		log: log, opt: opt,
		ready: make(chan struct{}), done: make(chan struct{}),
		changes: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		model: newModel(),
		sched: sched{delayed: map[item]loss{}, unverified: map[routeKey]Route{}},
	}
}

// String names the task.
func (k *Keeper) String() string { return "netcfg" }

// Ready is closed once events are subscribed and the routes are read.
func (k *Keeper) Ready() <-chan struct{} { return k.ready }

// Changes wakes the reader when links, addresses or routes changed, at once and
// then at most every 100 ms; where only foreign routes came and went that no
// default gateway, on-link subnet or wanted prefix depends on, at most every two
// seconds. One pending wake-up stands for many changes.
func (k *Keeper) Changes() <-chan struct{} { return k.changes }

// Run subscribes, reads the routes, and repairs until ctx ends; then it returns
// nil and leaves routes and rules in the kernel: a host keeps routing while the
// daemon is away. It works in the network namespace of the calling thread. It can
// run once.
func (k *Keeper) Run(ctx context.Context) error {
	k.mu.Lock()
	again := k.started
	k.started = true
	k.mu.Unlock()
	if again {
		return errors.New("cannot run the route keeper twice")
	}
	defer close(k.done)
	req, err := dialRequest()
	if err != nil {
		return err
	}
	defer k.stop(req)
	look, err := dialRequest()
	if err != nil {
		return err
	}
	defer look.close()
	events, err := dialEvents(req.port, k.opt.eventBuffer) // before the first dump, so that nothing is lost between
	if err != nil {
		return err
	}
	defer events.close()
	if err := k.start(req, look); err != nil {
		return err
	}
	close(k.ready)

	ctx, cancel := context.WithCancel(ctx)
	maintained := make(chan struct{})
	go func() { defer close(maintained); k.maintain(ctx) }()
	defer func() { cancel(); <-maintained }()
	return k.receive(ctx, events)
}

func (k *Keeper) start(req, look *requestConn) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.req, k.look = req, look
	if k.opt.ResyncInterval > 0 {
		k.resyncAt = time.Now().Add(k.opt.ResyncInterval)
	}
	return k.scan(true)
}

func (k *Keeper) stop(req *requestConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.req = nil
	req.close()
}

// Status returns a snapshot.
func (k *Keeper) Status() KeeperStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := KeeperStatus{
		Installed: k.installed(), Missing: k.missingList(), Foreign: k.foreignList(), Unrecorded: k.unrecorded(),
		Rules: k.ruleLists(), Repairs: k.repairs, Overruns: k.overruns, Fights: k.fights(time.Now()),
	}
	for _, f := range s.Fights {
		if f.Rule == (Rule{}) {
			s.Damped = append(s.Damped, f.Route)
		}
		if s.Rival == "" {
			s.Rival = f.Rival
		}
	}
	if k.last != nil {
		last := *k.last
		s.LastRepair = &last
	}
	return s
}

// item is what a repair is about: a route by its key, or a rule.
type item struct {
	route routeKey
	rule  Rule
}

// model is what the Keeper knows of the kernel and what it wants; guarded by mu.
type model struct {
	managing bool // false until the first Set: nothing is written before

	wanted   []Route // as it was given
	want     map[routeKey]Route
	places   map[routeKey]bool   // where a route is wanted, whatever its metric
	gateways map[netip.Addr]bool // of the wanted routes
	former   map[routeKey]bool   // what was ours before

	have    routeSet       // with our protocol in our tables: ours or unrecorded
	foreign map[Route]bool // others', for wanted prefixes
	tables  map[int]bool   // probe tables that may hold something
	missing map[routeKey]error

	wantRules    []Rule
	rules        map[Rule]bool // ours, and others' that come near
	missingRules map[Rule]error

	damping  map[item]damper
	repairs  uint64
	last     *Repair
	overruns uint64
}

func newModel() model {
	return model{
		want: map[routeKey]Route{}, places: map[routeKey]bool{}, gateways: map[netip.Addr]bool{}, former: map[routeKey]bool{},
		have: newRouteSet(0), foreign: map[Route]bool{}, tables: map[int]bool{}, missing: map[routeKey]error{},
		rules: map[Rule]bool{}, missingRules: map[Rule]error{}, damping: map[item]damper{},
	}
}
