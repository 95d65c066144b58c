package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hybridagent/agent/operation/optest"
)

// TestTriesTogether: tries that each hang for less than their deadline end together
// when their time is over, and say after how long the last one was ended.
func TestTriesTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		step := Step{Name: "a", Deadline: 4 * time.Minute, Attempts: 3, Together: 3 * time.Minute, Do: func(ctx context.Context, _ Run) error {
			tries++
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Minute):
				return errors.New("the API hangs")
			}
		}}
		b := start(t, t.TempDir(), step)
		began := time.Now()
		if err := b.submit(optest.Operation(1)); err != nil {
			t.Fatal(err)
		}
		end := b.end("")
		if took := time.Since(began); took.Round(time.Second) != 3*time.Minute || tries != 2 {
			t.Errorf("ended after %s and %d tries", took, tries)
		}
		if end.GetState() != hasFailed || !strings.Contains(end.GetMessage(), "step a did not end within 59.9") {
			t.Errorf("end = %v", end)
		}
		b.Close()
	})
}
