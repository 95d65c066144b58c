package agent

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errNoTrial answers who wants to end a trial where none runs.
var errNoTrial = errors.New("no change of the network is on trial")

// ConfirmNetwork is part of local.Actor: root says that the network on trial is
// good, whatever the plane and the path say.
func (c *core) ConfirmNetwork() error {
	return c.act(func(ctx context.Context) error {
		t := c.facts.trial
		if t == nil {
			return errNoTrial
		}
		if err := c.facts.net.failure(); err != nil {
			return fmt.Errorf("it is not in the kernel: %w", err)
		}
		c.confirmTrial(ctx)
		return t.failure
	})
}

// RollbackNetwork is part of local.Actor.
func (c *core) RollbackNetwork() error {
	return c.act(func(ctx context.Context) error {
		if c.facts.trial == nil {
			return errNoTrial
		}
		c.facts.trial.answered = true // a person decides: nothing is to be reconsidered
		c.rollBack(ctx, "root on this host rolled it back")
		return nil
	})
}

// RetryNetwork is part of local.Actor: what was rolled back is tried once more.
func (c *core) RetryNetwork() error {
	return c.act(func(ctx context.Context) error {
		back := c.facts.record.RolledBack
		if back == nil && (c.offered.next == nil || !c.offered.waits) {
			return errors.New("no change of the network was rolled back")
		}
		if c.offered.next == nil && back != nil && back.Generation == 0 {
			return errors.New("it was a live switch; ask for it again with \"hybridctl host set-vpn HOST IP --live\"")
		}
		if c.facts.trial != nil {
			return errors.New("another change of the network is on trial; end it first")
		}
		if err := c.forgive(); err != nil {
			return err
		}
		offered := c.offered.next
		if offered == nil {
			return nil // tried when the plane sends it, with the next connection
		}
		c.offered.held, c.offered.retryAt = false, time.Time{}
		refusals, pending := c.take(ctx, offered)
		if pending {
			return nil
		}
		c.answer(offered.update, refusals)
		if len(refusals) > 0 {
			return fmt.Errorf("%s: %s", refusals[0].GetField(), refusals[0].GetReason())
		}
		return nil
	})
}

// forgive has the network tried once more that was rolled back; c.mu is held.
func (c *core) forgive() error {
	if c.facts.record.RolledBack == nil {
		return nil
	}
	next := c.facts.record.clone()
	next.RolledBack = nil
	if err := c.cache.saveNetwork(next); err != nil {
		return err
	}
	c.facts.record = *next
	return nil
}

func (c *core) act(do func(ctx context.Context) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.taking.begin()()
	err := do(c.life)
	c.evaluate()
	return err
}
