package ssmagent_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"hybridagent/agent/operation/ssmagent"
)

func TestNudge(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var running []string
	var fails error
	restarts := 0
	n := &ssmagent.Nudger{Now: func() time.Time { return now }, Restart: func(_ context.Context, units ...string) ([]string, error) {
		restarts++
		if len(units) != 2 {
			t.Errorf("units %v", units)
		}
		return running, fails
	}}
	want := func(restarted bool, calls int, failed bool) {
		t.Helper()
		got, err := n.Nudge(t.Context())
		if got != restarted || restarts != calls || (err != nil) != failed {
			t.Errorf("restarted %v after %d calls, %v; want %v after %d", got, restarts, err, restarted, calls)
		}
	}
	want(false, 1, false) // no agent on this host
	running = []string{"amazon-ssm-agent.service"}
	want(true, 2, false)
	now = now.Add(4 * time.Minute)
	want(false, 2, false) // a short while ago
	now = now.Add(time.Minute)
	want(true, 3, false)
	now = now.Add(-time.Hour)
	want(true, 4, false) // a clock that was set back keeps nobody waiting
	fails = errors.New("no bus")
	now = now.Add(time.Hour)
	want(false, 5, true)
}
