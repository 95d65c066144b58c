package rollout

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"hybridagent/plane/fleet"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// retryDelay is waited after the store failed, before a host is looked at again.
const retryDelay = time.Second

// Signer signs encoded operations.
type Signer interface {
	SignOperation(operation []byte) (*agentv1.SignedOperation, error)
}

// Hosts is the fleet as rollout needs it.
type Hosts interface {
	NextChanged(ctx context.Context) (string, bool)
	Changed(hostID string)
	View(hostID string) (fleet.View, bool)
	Pool(name string) (fleet.PoolView, bool)
	SendOperation(hostID string, stream uint64, op *agentv1.SignedOperation) bool
}

// Config is what a Controller needs.
type Config struct {
	Store  *store.Store
	Signer Signer
	Hosts  Hosts
	// ResolveImage answers the digest of an image's tag; nil: none can be had.
	ResolveImage func(ctx context.Context, image string) (string, error)
	// Now is the plane's clock.
	Now func() time.Time
	// Log of the component.
	Log *zap.Logger
}

// Controller looks at each host that changed, and at its pool, one after the other.
type Controller struct {
	cfg    Config
	epoch  uint64
	images *images

	mu sync.Mutex // one look at a time; before recordsMu
	// recordsMu is held while the map changes; what is in it is replaced, never
	// changed. So operators can read it while a look waits for the store.
	recordsMu sync.RWMutex
	records   map[string]*record
	rollouts  map[string]*poolRollout // by pool
}

// New loads what was signed before.
func New(ctx context.Context, cfg Config) (*Controller, error) {
	c := &Controller{cfg: cfg, records: map[string]*record{}, rollouts: map[string]*poolRollout{}}
	if cfg.ResolveImage == nil {
		c.cfg.ResolveImage = func(_ context.Context, image string) (string, error) {
			return "", fmt.Errorf("cannot resolve image %s: this plane asks no registries", image)
		}
	}
	changed := func(string) {}
	if cfg.Hosts != nil {
		changed = cfg.Hosts.Changed
	}
	c.images = newImages(c.cfg.ResolveImage, cfg.Now, changed)
	var err error
	if c.epoch, err = readEpoch(ctx, cfg.Store); err != nil {
		return nil, err
	}
	entries, _, err := cfg.Store.List(ctx, recordPrefix)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		id := strings.TrimPrefix(e.Key, recordPrefix)
		r, err := decodeRecord(c.cfg.Store, e)
		if err != nil {
			r = c.replace(ctx, id, e, err)
		}
		c.records[id] = r
	}
	return c, c.loadRollouts(ctx)
}

// replace sets a record aside that cannot be read, and answers one in its place
// whose sequence is above any that was signed: counters count operations, and no
// host has had one in each second since 1970.
func (c *Controller) replace(ctx context.Context, id string, e store.Entry, why error) *record {
	r := &record{Epoch: c.epoch, Counter: uint64(c.cfg.Now().Unix()), revision: e.Revision}
	write, err := r.write(c.cfg.Store, id)
	if err == nil {
		err = c.cfg.Store.SetAside(ctx, e, write)
	}
	if err == nil {
		var now store.Entry
		now, err = c.cfg.Store.Get(ctx, e.Key)
		r.revision = now.Revision
	}
	c.cfg.Log.Error("operations of a host cannot be read and are set aside; its next one is signed as if there had been none",
		zap.String("host_id", id), zap.String("key", e.Key), zap.String("moved_to", store.AsidePrefix+e.Key), zap.Error(errors.Join(why, err)))
	return r
}

// readEpoch answers the plane's epoch, 1 for a new plane.
func readEpoch(ctx context.Context, st *store.Store) (uint64, error) {
	e, err := st.Get(ctx, epochKey)
	if errors.Is(err, store.ErrNotFound) {
		_, err = st.Commit(ctx, []store.Guard{{Key: epochKey}}, []store.Write{{Key: epochKey, Value: []byte("1")}})
		if err == nil || !errors.Is(err, store.ErrConflict) {
			return 1, err
		}
		e, err = st.Get(ctx, epochKey)
	}
	if err != nil {
		return 0, err
	}
	epoch, err := strconv.ParseUint(string(e.Value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot decode %s: %w", epochKey, err)
	}
	return epoch, nil
}

// Run looks at hosts as they change, until the context ends; then it answers
// nil.
func (c *Controller) Run(ctx context.Context) error {
	var watch sync.WaitGroup
	defer watch.Wait()
	defer c.images.close()
	watch.Go(func() { c.watchOverdue(ctx) })
	c.resume()
	// What was chosen while the plane was away is taken notice of, and pools that are
	// gone are forgotten.
	c.lookRollouts(ctx, false)
	for {
		id, ok := c.cfg.Hosts.NextChanged(ctx)
		if !ok {
			return nil
		}
		if err := c.look(ctx, id); err != nil && ctx.Err() == nil {
			c.cfg.Log.Error("operation of a host waits", zap.String("host_id", id), zap.Error(err))
			time.AfterFunc(retryDelay, func() { c.cfg.Hosts.Changed(id) })
		}
	}
}

// look brings one host's operation a step further, and the rollout of its pool.
func (c *Controller) look(ctx context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	former := c.record(id).Member
	v, ok := c.cfg.Hosts.View(id)
	if err := c.lookHost(ctx, id, v, ok); err != nil {
		return err
	}
	pools := []string{v.Assignment.GetPool()}
	if former != nil && former.Pool != pools[0] {
		pools = append(pools, former.Pool)
	}
	for _, pool := range pools {
		if pool == "" {
			continue
		}
		if err := c.lookPool(ctx, pool); err != nil {
			return err
		}
	}
	return nil
}

// lookHost is look without the pool.
func (c *Controller) lookHost(ctx context.Context, id string, v fleet.View, known bool) error {
	r, err := c.settled(ctx, id, v, known)
	if err != nil || !known {
		return err
	}
	if err := c.sendAbort(id, r, v); err != nil {
		return err
	}
	act := decide(&r, v)
	var next record
	switch act {
	case actSign:
		next, err = c.provision(r, v)
	case actLeave:
		next, err = c.leave(r, v)
	case actDrop:
		next = r
		next.Pending, next.Abort = nil, nil
		c.cfg.Log.Info("operation is withdrawn: the plane wants another", zap.String("host_id", id), zap.String("op_id", r.Pending.ID))
	case actSend:
		return c.send(id, r, v)
	default:
		return nil
	}
	var waits *imageWaitError
	if errors.As(err, &waits) {
		return nil // looked at again once that is known
	}
	if err != nil {
		return err
	}
	if err := c.save(ctx, id, &next); err != nil {
		return err
	}
	if act == actDrop {
		c.cfg.Hosts.Changed(id)
		return nil
	}
	c.logSigned(id, next)
	return c.send(id, next, v)
}

// settled is a host's record once all that the host has said is taken over.
func (c *Controller) settled(ctx context.Context, id string, v fleet.View, known bool) (record, error) {
	for {
		r := c.record(id)
		next, ended := settle(r, v, known, c.cfg.Now())
		if ended != nil {
			if err := c.finish(ctx, id, next, ended); err != nil {
				return r, err
			}
			continue
		}
		next, changed := abortRefused(r, v)
		if !changed && known {
			var err error
			if next, changed, err = remember(r, v); err != nil {
				return r, fmt.Errorf("cannot encode the drain options of host %s: %w", id, err)
			}
		}
		if !changed {
			return r, nil
		}
		if err := c.save(ctx, id, &next); err != nil {
			return r, err
		}
	}
}

func (c *Controller) logSigned(id string, r record) {
	c.cfg.Log.Info("operation is signed", zap.String("host_id", id), zap.String("op_id", r.Pending.ID),
		zap.Stringer("kind", r.Pending.kind()), zap.Uint64("generation", r.Pending.Generation))
}

// finish saves how an operation ended.
func (c *Controller) finish(ctx context.Context, id string, r record, ended *order) error {
	save := func() error { return c.save(ctx, id, &r) }
	if ended.Switch != nil && ended.State == agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		save = func() error { return c.closeSwitch(ctx, id, r) }
	}
	if err := save(); err != nil {
		return err
	}
	c.cfg.Log.Info("operation has ended", zap.String("host_id", id), zap.String("op_id", ended.ID),
		zap.Stringer("kind", ended.kind()), zap.Stringer("state", ended.State), zap.String("message", ended.Message))
	return nil
}

// resume has hosts looked at with an operation pending: its end may be known from
// before a restart.
func (c *Controller) resume() {
	c.recordsMu.RLock()
	defer c.recordsMu.RUnlock()
	for id, r := range c.records {
		if r.Pending != nil {
			c.cfg.Hosts.Changed(id)
		}
	}
}

// record is a host's record; the zero one where there is none. c.mu is held.
func (c *Controller) record(id string) record {
	if r := c.records[id]; r != nil {
		return *r
	}
	return record{}
}

// peek is record for who does not hold c.mu.
func (c *Controller) peek(id string) record {
	c.recordsMu.RLock()
	defer c.recordsMu.RUnlock()
	return c.record(id)
}

// keep replaces a host's record; c.mu is held.
func (c *Controller) keep(id string, r *record) {
	c.recordsMu.Lock()
	defer c.recordsMu.Unlock()
	c.records[id] = r
}

func (c *Controller) send(id string, r record, v fleet.View) error {
	if v.Stream == 0 {
		return nil
	}
	env, err := r.Pending.signed()
	if err != nil {
		return err
	}
	if c.cfg.Hosts.SendOperation(id, v.Stream, env) {
		r.sentOn, r.maybeSent = v.Stream, true
		c.keep(id, &r)
	}
	return nil
}

// save commits a record before anything of it leaves the plane. Where another
// wrote in between, theirs is taken and the host looked at again.
func (c *Controller) save(ctx context.Context, id string, r *record) error {
	return c.saveWith(ctx, id, r, store.Guard{}, nil)
}

// saveWith is save with more writes in the same commit, on condition of a guard;
// the zero guard is none.
func (c *Controller) saveWith(ctx context.Context, id string, r *record, guard store.Guard, writes []store.Write) error {
	write, err := r.write(c.cfg.Store, id)
	if err != nil {
		return err
	}
	guards := []store.Guard{{Key: recordPrefix + id, Revision: r.revision}}
	if guard.Key != "" {
		guards = append(guards, guard)
	}
	rev, err := c.cfg.Store.Commit(ctx, guards, append([]store.Write{write}, writes...))
	if err == nil {
		r.revision = rev
		c.keep(id, r)
		return nil
	}
	if errors.Is(err, store.ErrConflict) {
		if e, readErr := c.cfg.Store.Get(ctx, recordPrefix+id); readErr == nil {
			if theirs, decodeErr := decodeRecord(c.cfg.Store, e); decodeErr == nil && theirs.revision != r.revision {
				c.keep(id, theirs)
			}
		}
	}
	return err
}

// ErrNothingToRetry says that no operation of the host has failed.
var ErrNothingToRetry = errors.New("no operation of this host has failed")

// Retry forgets how the last operation ended, so that the next is signed as
// soon as the host is ready for it. A pending one that the host has refused
// without being able to name it is sent once more, as it would be to a new
// stream: to correct the host's CA pin or clock is all that it needs.
func (c *Controller) Retry(ctx context.Context, id string, force bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.records[id]
	if r == nil {
		return ErrNothingToRetry
	}
	next := *r
	v, _ := c.cfg.Hosts.View(id)
	switch {
	case retryable(r, v):
		next.sentOn = 0
		c.keep(id, &next)
	case r.Pending == nil && r.Last != nil && (r.Last.State != agentv1.OperationState_OPERATION_STATE_SUCCEEDED || ready(v) || leaving(r, v)):
		next.Last, next.ForceLeave = nil, force
		if err := c.save(ctx, id, &next); err != nil {
			return err
		}
	default:
		return ErrNothingToRetry
	}
	c.cfg.Hosts.Changed(id)
	return nil
}
