package agent

import (
	"context"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/session"
)

const (
	// pingTimeout bounds one call of the plane on a new connection.
	pingTimeout = 5 * time.Second
	// pingGap is the wait between two.
	pingGap = time.Second
	// reconsiderTime is how long the plane is called over the former network, to
	// learn whether its silence said anything about the new one.
	reconsiderTime = 30 * time.Second
)

// ping calls the plane on a connection of its own.
func (p *planeTask) ping(ctx context.Context) error {
	return session.Ping(ctx, p.cfg.Plane.Address, p.trust(), p.identity())
}

// callPlane calls until the plane answers or ctx ends.
func (c *core) callPlane(ctx context.Context, t *trial) {
	if !c.reach(ctx) {
		return
	}
	c.mu.Lock()
	t.answered = true
	c.mu.Unlock()
	c.notify()
}

// reach says whether the plane answered before ctx ended.
func (c *core) reach(ctx context.Context) bool {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, pingTimeout)
		err := c.ping(attempt)
		cancel()
		if err == nil {
			return true
		}
		c.log.Debug("the plane does not answer", zap.Error(err))
		if !pause(ctx, pingGap) {
			return false
		}
	}
	return false
}

// reconsider calls the plane over the former network after a trial that it did not
// answer in. Where it is silent there too, the trial has shown nothing: the network
// may be tried again when the plane is back and sends the assignment.
func (c *core) reconsider(after *rolledBack) {
	ctx, cancel := context.WithTimeout(c.life, reconsiderTime)
	defer cancel()
	if c.reach(ctx) || c.life.Err() != nil || after == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.facts.record.RolledBack != after {
		return
	}
	c.log.Info("the plane is silent over the former network as well; the new one may be tried again")
	next := c.facts.record.clone()
	next.RolledBack = nil
	c.facts.record = *next
	if err := c.cache.saveNetwork(next); err != nil {
		c.log.Warn("cannot write down that the network may be tried again", zap.Error(err))
	}
}
