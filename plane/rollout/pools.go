package rollout

import (
	"context"
	"errors"
	"strings"

	"go.uber.org/zap"

	"hybridagent/plane/fleet"
	"hybridagent/plane/store"
)

// loadRollouts reads how far the pools were. A record that cannot be read is set
// aside: nothing is repaved before somebody asks for it again.
func (c *Controller) loadRollouts(ctx context.Context) error {
	entries, _, err := c.cfg.Store.List(ctx, rolloutPrefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		pool := strings.TrimPrefix(e.Key, rolloutPrefix)
		ro, err := decodeRollout(e)
		if err != nil {
			aside := c.cfg.Store.SetAside(ctx, e)
			c.cfg.Log.Error("rollout of a pool cannot be read and is set aside; repave the pool again", zap.String("pool", pool),
				zap.String("moved_to", store.AsidePrefix+e.Key), zap.Error(errors.Join(err, aside)))
			continue
		}
		c.rollouts[pool] = ro
	}
	return nil
}

// lookPool brings the rollout of a pool a step further; c.mu is held.
func (c *Controller) lookPool(ctx context.Context, pool string) error {
	p, ok := c.cfg.Hosts.Pool(pool)
	if !ok {
		return c.forgetRollout(ctx, pool)
	}
	was := c.rollout(pool)
	ro := c.notice(was, p)
	if !ro.running() {
		return c.saveRollout(ctx, pool, was, ro)
	}
	hosts := c.hostsOf(p)
	ro, id := ro.step(hosts, c.cfg.Now())
	if id == "" {
		return c.saveRollout(ctx, pool, was, ro)
	}
	for _, h := range hosts {
		if h.id == id {
			return c.begin(ctx, pool, was, ro, h)
		}
	}
	return nil
}

// notice is the rollout of a pool as its profile version asks for it: another one
// than when the plane last looked starts a rollout.
func (c *Controller) notice(ro poolRollout, p fleet.PoolView) poolRollout {
	now := c.cfg.Now()
	switch {
	case !ro.MadeAt.Equal(p.MadeAt):
		return poolRollout{MadeAt: p.MadeAt, Profile: p.Profile, revision: ro.revision}
	case ro.Profile == p.Profile:
		return ro
	}
	ro = ro.begin(c.hostsOf(p), func(h hostAt) (in bool, how Manner) {
		s, _ := h.stands(false)
		return s != standsDone, Manner{}
	}, now)
	ro.Profile = p.Profile
	c.cfg.Log.Info("another profile version is chosen", zap.String("pool", p.Name), zap.String("profile", p.Profile), zap.Int("hosts", len(ro.Turns)))
	return ro
}

// begin signs the operation of the host whose turn it is, and stores both in one
// commit.
func (c *Controller) begin(ctx context.Context, pool string, was, ro poolRollout, h hostAt) error {
	t, _ := ro.turn(h.id)
	next, err := c.repave(h.record, h.view, Manner{Force: t.Force, ReconfigureOnly: t.ReconfigureOnly})
	var waits *imageWaitError
	if errors.As(err, &waits) {
		return c.saveRollout(ctx, pool, was, ro)
	}
	if err != nil {
		return err
	}
	for i := range ro.Turns {
		if ro.Turns[i].HostID == h.id {
			ro.Turns[i].State, ro.Turns[i].OperationID, ro.Turns[i].Since = turnUnderway, next.Pending.ID, next.Pending.SignedAt
		}
	}
	write, err := ro.write(pool)
	if err != nil {
		return err
	}
	if err := c.saveWith(ctx, h.id, &next, store.Guard{Key: rolloutPrefix + pool, Revision: was.revision}, []store.Write{write}); err != nil {
		return c.reread(ctx, pool, err)
	}
	ro.revision = next.revision
	c.keepRollout(pool, &ro)
	c.logSigned(h.id, next)
	return c.send(h.id, next, h.view)
}

// hostsOf are the hosts of a pool as they are now; c.mu is held, or recordsMu.
func (c *Controller) hostsOf(p fleet.PoolView) []hostAt {
	out := make([]hostAt, 0, len(p.Hosts))
	for _, id := range p.Hosts {
		v, known := c.cfg.Hosts.View(id)
		out = append(out, hostAt{id: id, known: known, view: v, record: c.record(id)})
	}
	return out
}

func (c *Controller) rollout(pool string) poolRollout {
	if ro := c.rollouts[pool]; ro != nil {
		return *ro
	}
	return poolRollout{}
}

func (c *Controller) keepRollout(pool string, ro *poolRollout) {
	c.recordsMu.Lock()
	defer c.recordsMu.Unlock()
	if ro == nil {
		delete(c.rollouts, pool)
		return
	}
	c.rollouts[pool] = ro
}

// saveRollout commits a rollout where it is another than before.
func (c *Controller) saveRollout(ctx context.Context, pool string, was, ro poolRollout) error {
	if ro.same(was) {
		return nil
	}
	write, err := ro.write(pool)
	if err != nil {
		return err
	}
	rev, err := c.cfg.Store.Commit(ctx, []store.Guard{{Key: rolloutPrefix + pool, Revision: was.revision}}, []store.Write{write})
	if err != nil {
		return c.reread(ctx, pool, err)
	}
	ro.revision = rev
	c.keepRollout(pool, &ro)
	if was.State != ro.State {
		c.cfg.Log.Info("rollout of a pool", zap.String("pool", pool), zap.Stringer("state", ro.State), zap.String("message", ro.Message))
	}
	return nil
}

// reread takes over what another has written, and answers the error of ours.
func (c *Controller) reread(ctx context.Context, pool string, err error) error {
	if !errors.Is(err, store.ErrConflict) {
		return err
	}
	e, readErr := c.cfg.Store.Get(ctx, rolloutPrefix+pool)
	if errors.Is(readErr, store.ErrNotFound) {
		c.keepRollout(pool, nil)
		return err
	}
	if readErr == nil {
		if theirs, decodeErr := decodeRollout(e); decodeErr == nil {
			c.keepRollout(pool, theirs)
		}
	}
	return err
}

// forgetRollout removes what is stored of a pool that is gone.
func (c *Controller) forgetRollout(ctx context.Context, pool string) error {
	ro, ok := c.rollouts[pool]
	if !ok {
		return nil
	}
	guard := store.Guard{Key: rolloutPrefix + pool, Revision: ro.revision}
	if _, err := c.cfg.Store.Commit(ctx, []store.Guard{guard}, []store.Write{{Key: guard.Key, Delete: true}}); err != nil {
		return c.reread(ctx, pool, err)
	}
	c.keepRollout(pool, nil)
	return nil
}

// lookRollouts looks at every pool, or at those alone whose rollout runs: not
// everything that lets one go on is a change of a host.
func (c *Controller) lookRollouts(ctx context.Context, running bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var pools []string
	for pool, ro := range c.rollouts {
		if ro.running() || !running {
			pools = append(pools, pool)
		}
	}
	for _, pool := range pools {
		// What fails here is tried again with the next tick.
		if err := c.lookPool(ctx, pool); err != nil && ctx.Err() == nil {
			c.cfg.Log.Error("rollout of a pool waits", zap.String("pool", pool), zap.Error(err))
		}
	}
}
