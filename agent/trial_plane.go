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
	// reconsiderGap is the wait before a trial that has shown nothing is repeated.
	reconsiderGap = 5 * time.Minute
)

// ping calls the plane on a connection of its own.
func (p *planeTask) ping(ctx context.Context) error {
	return session.Ping(ctx, p.cfg.Plane.Address, p.trust(), p.identity())
}

// callAgain calls the plane over the way that the kernel has now: what it answered
// over another says nothing. c.mu is held.
func (c *core) callAgain(t *trial) {
	if t.stop != nil {
		t.stop()
	}
	c.facts.routes = c.keeper.Status()
	way := c.facts.wholeWay()
	t.way, t.answered = way, false
	life, stop := context.WithCancel(c.life)
	t.stop = stop
	c.background.Go(func() {
		if !c.reach(life) {
			return
		}
		c.mu.Lock()
		if t.way == way {
			t.answered = true
		}
		c.mu.Unlock()
		c.notify()
	})
}

// wholeWay is a text that changes with what connections leave by.
func (f *facts) wholeWay() string {
	return f.way() + f.net.selection.Link.Name + " " + f.net.selection.NodeIP.String()
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
	if err := c.forgive(); err != nil {
		c.log.Warn("cannot write down that the network may be tried again", zap.Error(err))
		return
	}
	if c.offered.next != nil && c.offered.held {
		// With a new connection the plane sends it at once; where only its stream is
		// open, it must not be tried all the time.
		c.offered.held, c.offered.waits, c.offered.since = false, true, time.Now()
		c.retryIn(reconsiderGap)
	}
}
