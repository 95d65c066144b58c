package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"hybridagent/agent/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBackoffIsFullJitterBelowADoublingBound(t *testing.T) {
	t.Parallel()
	most := Backoff{First: time.Second, Cap: 60 * time.Second, Rand: func() float64 { return 0.999999 }}
	for i, bound := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		if got := most.Next(); got > bound*time.Second || got < bound*time.Second-time.Millisecond {
			t.Errorf("wait %d is %s, want just below %ds", i, got, bound)
		}
	}
	most.Reset()
	if got := most.Next(); got > time.Second {
		t.Errorf("after a reset: %s", got)
	}
	for range 100 {
		most.Next() // must not overflow
	}
	least := Backoff{First: time.Second, Cap: 60 * time.Second, Rand: func() float64 { return 0 }}
	if got := least.Next(); got != 0 {
		t.Errorf("the least wait is %s, want 0", got)
	}
	spread := Backoff{First: time.Minute, Cap: time.Minute}
	low := 0
	for range 1000 {
		if spread.Next() < 30*time.Second {
			low++
		}
	}
	if low < 400 || low > 600 {
		t.Errorf("%d of 1000 waits lie in the lower half", low)
	}
}

// record is when attempts began, counted from the start.
type record struct {
	mu sync.Mutex
	at []time.Duration
}

func (r *record) add(at time.Duration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = append(r.at, at)
	return len(r.at)
}

func (r *record) all() []time.Duration {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.at)
}

// script is a session whose attempts end as written, by the fake clock.
func script(t *testing.T, outcomes ...outcome) (s *Session, attempts *record) {
	t.Helper()
	s = New(Options{Log: zaptest.NewLogger(t)})
	attempts = &record{}
	start := time.Now()
	s.attempt = func(ctx context.Context) outcome {
		if n := attempts.add(time.Since(start)); n <= len(outcomes) {
			return outcomes[n-1]
		}
		<-ctx.Done()
		return outcome{}
	}
	return s, attempts
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, attempts := script(t, outcome{retryAfter: 5 * time.Minute, err: errors.New("goodbye")})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(time.Second)
		s.Nudge() // a network change is no excuse
		time.Sleep(4*time.Minute + 58*time.Second)
		if len(attempts.all()) != 1 {
			t.Errorf("came back after %v", attempts.all())
		}
		time.Sleep(3 * time.Second)
		if len(attempts.all()) != 2 {
			t.Errorf("%d attempts 5 min after the goodbye, want 2", len(attempts.all()))
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("cancellation returned %v", err)
		}
	})
}

func TestNudgeEndsALongWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failed := make([]outcome, 20)
		for i := range failed {
			failed[i].err = errors.New("unreachable")
		}
		s, attempts := script(t, failed...)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(10 * time.Minute) // long waits by now
		for range 5 {
			before := len(attempts.all())
			s.Nudge()
			time.Sleep(nudgeGap + time.Millisecond)
			if len(attempts.all()) == before && before < 20 {
				t.Errorf("no attempt within %s of a nudge", nudgeGap)
			}
		}
		cancel()
		<-done
	})
}

func TestBackoffStartsOverAfterALongStreamOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		outcomes := make([]outcome, 12)
		for i := range outcomes {
			outcomes[i] = outcome{err: errors.New("x"), lasted: time.Second}
		}
		outcomes = append(outcomes, outcome{err: errors.New("x"), lasted: time.Hour}, outcome{})
		s, attempts := script(t, outcomes...)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(20 * time.Minute)
		if n := len(attempts.all()); n < 14 {
			t.Fatalf("%d attempts in 20 min", n)
		}
		if quick := attempts.all()[13] - attempts.all()[12]; quick > backoffFirst {
			t.Errorf("after a stream of an hour the first wait was %s", quick)
		}
		total := attempts.all()[12] - attempts.all()[0]
		if total < 30*time.Second {
			t.Errorf("12 short streams took %s only: the plane is hammered", total)
		}
		cancel()
		<-done
	})
}

func TestStateSaysWhyAndWhen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := &identity.Error{Reason: identity.ReasonWrongCAPin, Err: errors.New("wrong pin")}
		s, _ := script(t, outcome{err: refused})
		var last State
		s.opt.OnState = func(state State) { last = state }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		if last.Connected || last.LastReason != identity.ReasonWrongCAPin || last.NextAttempt.IsZero() {
			t.Errorf("state %+v", last)
		}
		cancel()
		<-done
	})
}
