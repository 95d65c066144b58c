package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hybridagent/agent/operation/engine"
)

// waitPoll is how often an awaited condition is looked at.
const waitPoll = 200 * time.Millisecond

// awaited is the lack of something that comes by itself: an address, the right
// time, a route. It is waited for until the operation's own deadline and not
// for less: the plane signs no second operation by itself after a failure.
type awaited struct{ error }

func (a *awaited) Unwrap() error { return a.error }

// wait calls check until it finds nothing awaited any more, and returns what it
// found then.
func wait(ctx context.Context, run engine.Run, check func() error) error {
	return waitEvery(ctx, waitPoll, run, check)
}

// waitEvery is wait with so much time between two looks.
func waitEvery(ctx context.Context, poll time.Duration, run engine.Run, check func() error) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	said := ""
	for {
		err := check()
		var missing *awaited
		if !errors.As(err, &missing) {
			return err
		}
		if text := "waiting: " + missing.Error(); text != said {
			said = text
			run.Say(text)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; it was waited for in vain: %w", missing.error, ctx.Err())
		case <-ticker.C:
		}
	}
}
