package drain

import (
	"context"
	"math/rand/v2"
	"time"
)

// jitter spreads what many hosts would do at once.
func jitter(pause time.Duration) time.Duration {
	return pause*3/4 + rand.N(pause/2)
}

// sleep reports false when the context ended first.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
