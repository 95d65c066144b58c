// Package ssmagent starts the SSM agent anew after an outage: by itself it waits for
// up to half an hour until it asks for credentials again
// (amazon-ssm-agent, agent/ssm/authtokenrequest: exponential backoff).
package ssmagent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hybridagent/systemd"
)

// pauseBetween is the least time between two nudges: whoever asks more often changes
// nothing.
const pauseBetween = 5 * time.Minute

// Units are the agent's names: of its package, and of its snap on Ubuntu.
func Units() []string {
	return []string{"amazon-ssm-agent.service", "snap.amazon-ssm-agent.amazon-ssm-agent.service"}
}

// Nudger restarts the agent where it runs.
type Nudger struct {
	// Restart restarts those of the named units that run and returns them;
	// RestartRunning but in tests.
	Restart func(ctx context.Context, units ...string) ([]string, error)
	// Now is the clock.
	Now func() time.Time

	mutex sync.Mutex
	last  time.Time
}

// New returns a nudger of this host's systemd.
func New() *Nudger { return &Nudger{Restart: RestartRunning, Now: time.Now} }

// RestartRunning restarts those units that run; nothing where there is no systemd.
func RestartRunning(ctx context.Context, units ...string) ([]string, error) {
	if !systemd.Running() {
		return nil, nil
	}
	manager, err := systemd.OpenManager(ctx)
	if err != nil {
		return nil, err
	}
	defer manager.Close()
	return manager.RestartRunning(ctx, units...)
}

// Nudge restarts the agent; false where it does not run here, or was nudged a short
// while ago.
func (n *Nudger) Nudge(ctx context.Context) (bool, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	now := n.Now()
	if since := now.Sub(n.last); since >= 0 && since < pauseBetween {
		return false, nil
	}
	restarted, err := n.Restart(ctx, Units()...)
	if err != nil {
		return false, fmt.Errorf("cannot start the SSM agent anew: %w", err)
	}
	if len(restarted) > 0 {
		n.last = now
	}
	return len(restarted) > 0, nil
}
