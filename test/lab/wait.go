package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// finalError ends a wait before its time.
type finalError struct{ error }

// Final marks an error of a check of Until after which no further call can succeed.
func Final(err error) error { return finalError{err} }

// Until calls check every interval until it returns nil, or an error marked Final; when ctx ends first, the error says what was awaited and what check said last.
func Until(ctx context.Context, what string, interval time.Duration, check func(ctx context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		var final finalError
		if errors.As(err, &final) {
			return fmt.Errorf("cannot go on waiting for %s: %w", what, final.error)
		}
		// A check that the end of ctx interrupted says less than the one before it.
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting for %s (%w): %w", what, context.Cause(ctx), last)
		case <-ticker.C:
		}
	}
}
