package netcfg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Keeper is the only writer of routes: it installs what Set wants and puts it back
// at once when it disappears. One Keeper per network namespace.
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
	model
	sched
}

// model is what the Keeper knows of the kernel and what it wants; guarded by mu.
type model struct {
	managing bool // false until the first Set: nothing is written before
	want     map[routeKey]Route
	wantDst  map[netip.Prefix]bool
	have     map[Route]bool // ours
	foreign  map[Route]bool // others', for wanted prefixes
	missing  map[routeKey]error
	damping  map[routeKey]damper
	repairs  uint64
	last     *Repair
	overruns uint64
}

// NewKeeper returns a Keeper; Run makes it work.
func NewKeeper(log *zap.Logger, opt KeeperOptions) *Keeper {
	return &Keeper{
		log: log, opt: opt,
		ready: make(chan struct{}), done: make(chan struct{}),
		changes: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		model: model{
			want: map[routeKey]Route{}, wantDst: map[netip.Prefix]bool{}, have: map[Route]bool{},
			foreign: map[Route]bool{}, missing: map[routeKey]error{}, damping: map[routeKey]damper{},
		},
	}
}

// String names the task.
func (k *Keeper) String() string { return "netcfg" }

// Ready is closed once events are subscribed and the routes are read.
func (k *Keeper) Ready() <-chan struct{} { return k.ready }

// Changes wakes the reader when links, addresses or routes changed, at once and
// then at most every 100 ms. One pending wake-up stands for many changes.
func (k *Keeper) Changes() <-chan struct{} { return k.changes }

// Run subscribes, reads the routes, and repairs until ctx ends; then it returns
// nil and leaves the routes in the kernel. It works in the network namespace of
// the calling thread. It can run once.
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
	events, err := dialEvents(req.port) // before the first dump, so that nothing is lost between
	if err != nil {
		return err
	}
	defer events.close()
	if err := k.start(req); err != nil {
		return err
	}
	close(k.ready)

	ctx, cancel := context.WithCancel(ctx)
	maintained := make(chan struct{})
	go func() { defer close(maintained); k.maintain(ctx) }()
	defer func() { cancel(); <-maintained }()
	return k.receive(ctx, events)
}

func (k *Keeper) start(req *requestConn) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.req = req
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

// Set makes want the routes to hold: adds and replaces first, then deletes those
// of ours that are not wanted. It is idempotent, safe for concurrent use, and
// waits until the Keeper is ready or ctx ends. What was achieved is returned with
// an error too: what could be installed is, and the rest is tried again on every
// change of links, addresses and routes.
func (k *Keeper) Set(ctx context.Context, desired Desired) (Achieved, error) {
	want := desired.Routes
	if err := checkWanted(want); err != nil {
		return Achieved{}, err
	}
	select {
	case <-k.ready:
	default:
		select {
		case <-k.ready:
		case <-k.done:
			return Achieved{}, errors.New("cannot set routes: the route keeper has stopped")
		case <-ctx.Done():
			return Achieved{}, fmt.Errorf("cannot set routes: the route keeper is not ready: %w", ctx.Err())
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.req == nil {
		return Achieved{}, errors.New("cannot set routes: the route keeper has stopped")
	}
	return k.set(want)
}

// checkWanted refuses what the Keeper could not own or tell apart.
func checkWanted(want []Route) error {
	keys := make(map[routeKey]bool, len(want))
	for _, r := range want {
		switch {
		case !r.Own():
			return fmt.Errorf("cannot set route %s: not protocol %d in the main table", r, OwnProtocol)
		case !r.Dst.IsValid() || !r.Dst.Addr().Is4() || r.Dst != r.Dst.Masked():
			return fmt.Errorf("cannot set route %s: destination is no masked IPv4 prefix", r)
		case r.Multipath || r.LinkIndex <= 0:
			return fmt.Errorf("cannot set route %s: it needs exactly one outgoing link", r)
		case r.Gateway.IsValid() && !r.Gateway.Is4(), r.Source.IsValid() && !r.Source.Is4():
			return fmt.Errorf("cannot set route %s: gateway and source must be IPv4", r)
		case keys[r.key()]:
			return fmt.Errorf("cannot set route %s: wanted twice", r)
		}
		keys[r.key()] = true
	}
	return nil
}

func (k *Keeper) set(want []Route) (Achieved, error) {
	grown := !k.managing
	k.managing = true
	old := k.wantDst
	k.want, k.wantDst = make(map[routeKey]Route, len(want)), make(map[netip.Prefix]bool, len(want))
	for _, r := range want {
		k.want[r.key()], k.wantDst[r.Dst] = r, true
		grown = grown || !old[r.Dst]
	}
	maps.DeleteFunc(k.missing, func(key routeKey, _ error) bool { _, ok := k.want[key]; return !ok })
	maps.DeleteFunc(k.damping, func(key routeKey, _ damper) bool { _, ok := k.want[key]; return !ok })
	add, replace, del := Diff(want, k.haveList())
	var done Achieved
	if len(add)+len(replace)+len(del) > 0 || grown {
		done = k.apply(add, replace, del)
		// Reading back is what makes "achieved" a fact, and finds foreign routes.
		if err := k.scan(true); err != nil {
			k.checkLater(time.Now(), true, CauseResync)
			return done, err
		}
	}
	if len(k.missing) == 0 && !k.settled() {
		k.checkLater(time.Now(), true, CauseDeleted)
	}
	done.Routes, done.Missing, done.Foreign = k.installed(), k.missingList(), k.foreignList()
	errs := make([]error, 0, len(done.Missing))
	for _, m := range done.Missing {
		errs = append(errs, m.Err)
	}
	return done, errors.Join(errs...)
}

// Status returns a snapshot.
func (k *Keeper) Status() KeeperStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := KeeperStatus{
		Installed: k.installed(), Missing: k.missingList(), Foreign: k.foreignList(),
		Repairs: k.repairs, Overruns: k.overruns, Damped: k.damped(time.Now()),
	}
	if k.last != nil {
		last := *k.last
		s.LastRepair = &last
	}
	return s
}
