package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/ca"
	"hybridagent/plane/compile"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Config is what a fleet needs.
type Config struct {
	// Store of resources and records.
	Store *store.Store
	// CA that vouches for hosts.
	CA *ca.Authority
	// Version of the plane, told to hosts.
	Version string
	// Now is the plane's clock.
	Now func() time.Time
	// Log of the component.
	Log *zap.Logger
}

// Fleet is every host that the plane knows. It serves EnrollmentService and
// AgentService.
type Fleet struct {
	agentv1.UnimplementedAgentServiceServer
	agentv1.UnimplementedEnrollmentServiceServer

	cfg     Config
	started time.Time
	changed *workset
	unsaved *workset

	mu       sync.RWMutex // before host.mu
	catalog  catalog
	hosts    map[string]*host
	revision int64         // of the last change seen
	moved    chan struct{} // closed when revision changes, and replaced
}

// New loads the fleet from the store. Call Run to follow changes.
func New(ctx context.Context, cfg Config) (*Fleet, error) {
	f := &Fleet{
		cfg: cfg, started: cfg.Now(), changed: newWorkset(), unsaved: newWorkset(),
		catalog: newCatalog(), hosts: map[string]*host{}, moved: make(chan struct{}),
	}
	if err := f.load(ctx); err != nil {
		return nil, fmt.Errorf("cannot load the fleet: %w", err)
	}
	return f, nil
}

// Run follows the store and writes changes of hosts behind, until the context
// ends; then it writes what is left and answers nil.
func (f *Fleet) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.follow(ctx) })
	g.Go(func() error { return f.persist(ctx) })
	return g.Wait()
}

// NextChanged waits for a host whose state changed in a way that may let an
// operation begin or end. It answers false when the context has ended.
func (f *Fleet) NextChanged(ctx context.Context) (string, bool) { return f.changed.next(ctx) }

// follow applies changes of resources as they are committed.
func (f *Fleet) follow(ctx context.Context) error {
	for {
		f.mu.RLock()
		after := f.revision
		f.mu.RUnlock()
		err := f.cfg.Store.Watch(ctx, store.ResourcePrefix, after, f.apply)
		if !errors.Is(err, store.ErrLagged) {
			return err
		}
		f.cfg.Log.Warn("resources are read anew: the watch fell behind", zap.Error(err))
		if err := f.load(ctx); err != nil {
			return err
		}
	}
}

// load reads every resource and record, and compiles every host.
func (f *Fleet) load(ctx context.Context) error {
	resources, rev, err := f.cfg.Store.ListResources(ctx, "")
	if err != nil {
		return err
	}
	records, err := f.readRecords(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.catalog = newCatalog()
	defer f.moveLocked(rev)
	enrolled := map[string]bool{}
	for _, r := range resources {
		if r.GetKind() == kind.Host {
			enrolled[r.GetMetadata().GetName()] = true
			continue
		}
		f.catalog.set(store.KeyOf(r), r)
	}
	for id := range f.hosts {
		if !enrolled[id] {
			f.removeLocked(id)
		}
	}
	for id := range enrolled {
		h := f.hosts[id]
		if h == nil {
			h = newHost(id, records[id], f.started)
			f.hosts[id] = h
		}
		f.compileLocked(h)
	}
	return nil
}

// apply takes one batch of changes and recompiles the hosts it touches.
func (f *Fleet) apply(b store.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	touched := map[string]bool{}
	for _, c := range b.Changes {
		if id, ok := strings.CutPrefix(c.Entry.Key, store.ResourceKey(kind.Host, "")); ok {
			f.applyHost(id, c.Deleted, touched)
			continue
		}
		var r *planev1.Resource
		if !c.Deleted {
			var err error
			if r, err = f.cfg.Store.DecodeResource(c.Entry); err != nil {
				// One bad value must not stop the rest of the fleet.
				f.cfg.Log.Error("resource cannot be read; hosts keep what they have", zap.String("key", c.Entry.Key), zap.Error(err))
				continue
			}
		}
		for _, id := range f.catalog.set(c.Entry.Key, r) {
			touched[id] = true
		}
	}
	for id := range touched {
		if h := f.hosts[id]; h != nil {
			f.compileLocked(h)
		}
		// Also where nothing changes for the host: another profile version may say the
		// same, and its rollout is over at once.
		f.changed.add(id)
	}
	f.moveLocked(b.Revision)
	return nil
}

func (f *Fleet) applyHost(id string, deleted bool, touched map[string]bool) {
	if deleted {
		f.removeLocked(id)
		return
	}
	if f.hosts[id] == nil {
		f.hosts[id] = newHost(id, record{}, f.cfg.Now())
		touched[id] = true
	}
}

// known answers an enrolled host, and waits for the watch where it has not made
// the host yet. Only the watch makes hosts: whoever made one from what it read a
// moment ago could bring back one that was removed since.
func (f *Fleet) known(ctx context.Context, id string) (*host, error) {
	if h := f.host(id); h != nil {
		return h, nil
	}
	e, err := f.cfg.Store.Get(ctx, store.ResourceKey(kind.Host, id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, wasRemoved(id)
	}
	if err != nil {
		return nil, asStatus(err)
	}
	f.Seen(ctx, e.Revision)
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch h := f.hosts[id]; {
	case h != nil:
		return h, nil
	case f.revision < e.Revision:
		return nil, status.Error(codes.Unavailable, "the plane has not caught up with its store; try again")
	default:
		return nil, wasRemoved(id)
	}
}

// enrolAgain is the way back for a host whose certificate is worth nothing.
const enrolAgain = "make a token with 'hybridctl token create' and enrol it again"

func wasRemoved(id string) error {
	return status.Errorf(codes.PermissionDenied, "host %q was removed from the plane; to bring it back %s", id, enrolAgain)
}

func (f *Fleet) removeLocked(id string) {
	h := f.hosts[id]
	if h == nil {
		return
	}
	delete(f.hosts, id)
	f.changed.add(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removed = true
	if h.session != nil {
		h.session.goodbye("the host was removed from the plane; to bring it back " + enrolAgain)
	}
}

// compileLocked makes a host's assignment and pushes it when it is new.
func (f *Fleet) compileLocked(h *host) {
	out, err := compile.Compile(f.catalog.input(h.id))
	if err != nil {
		f.cfg.Log.Error("assignment is not changed", zap.String("host_id", h.id), zap.Error(err))
		return
	}
	if h.want(out) {
		f.unsaved.add(h.id)
		f.changed.add(h.id)
	}
}

func (f *Fleet) host(id string) *host {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.hosts[id]
}
