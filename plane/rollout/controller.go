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
	SendOperation(hostID string, stream uint64, op *agentv1.SignedOperation) bool
}

// Config is what a Controller needs.
type Config struct {
	Store  *store.Store
	Signer Signer
	Hosts  Hosts
	// Now is the plane's clock.
	Now func() time.Time
	// Log of the component.
	Log *zap.Logger
}

// Controller looks at each host that changed, one after the other.
type Controller struct {
	cfg   Config
	epoch uint64

	mu      sync.Mutex
	records map[string]*record
}

// New loads what was signed before.
func New(ctx context.Context, cfg Config) (*Controller, error) {
	c := &Controller{cfg: cfg, records: map[string]*record{}}
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
	return c, nil
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

// look brings one host's operation a step further.
func (c *Controller) look(ctx context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.cfg.Hosts.View(id)
	if !ok {
		return nil
	}
	r := c.records[id]
	if r == nil {
		r = &record{}
	}
	if next, ended := conclude(*r, v.Operation); ended {
		if err := c.save(ctx, id, &next); err != nil {
			return err
		}
		r = &next
		c.cfg.Log.Info("operation has ended", zap.String("host_id", id), zap.String("op_id", r.Last.ID), zap.String("state", r.Last.State.String()))
	}
	switch decide(r, v) {
	case actSign:
		next, err := c.sign(*r, v)
		if err != nil {
			return err
		}
		if err := c.save(ctx, id, &next); err != nil {
			return err
		}
		r = &next
		c.cfg.Log.Info("operation is signed", zap.String("host_id", id), zap.String("op_id", r.Pending.ID), zap.Uint64("generation", r.Pending.Generation))
	case actSend:
	default:
		return nil
	}
	return c.send(id, r, v)
}

func (c *Controller) send(id string, r *record, v fleet.View) error {
	if v.Stream == 0 {
		return nil
	}
	env, err := r.Pending.signed()
	if err != nil {
		return err
	}
	if c.cfg.Hosts.SendOperation(id, v.Stream, env) {
		r.sentOn = v.Stream
		c.records[id] = r
	}
	return nil
}

// save commits a record before anything of it leaves the plane. Where another
// wrote in between, theirs is taken and the host looked at again.
func (c *Controller) save(ctx context.Context, id string, r *record) error {
	write, err := r.write(c.cfg.Store, id)
	if err != nil {
		return err
	}
	rev, err := c.cfg.Store.Commit(ctx, []store.Guard{{Key: recordPrefix + id, Revision: r.revision}}, []store.Write{write})
	if err == nil {
		r.revision = rev
		c.records[id] = r
		return nil
	}
	if errors.Is(err, store.ErrConflict) {
		if e, readErr := c.cfg.Store.Get(ctx, recordPrefix+id); readErr == nil {
			if theirs, decodeErr := decodeRecord(c.cfg.Store, e); decodeErr == nil {
				c.records[id] = theirs
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
func (c *Controller) Retry(ctx context.Context, id string) error {
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
		c.records[id] = &next
	case r.Pending == nil && r.Last != nil && r.Last.State != agentv1.OperationState_OPERATION_STATE_SUCCEEDED:
		next.Last = nil
		if err := c.save(ctx, id, &next); err != nil {
			return err
		}
	default:
		return ErrNothingToRetry
	}
	c.cfg.Hosts.Changed(id)
	return nil
}
