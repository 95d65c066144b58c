package lifecycle

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// looping is a kubelet that systemd starts each seven seconds and that ends after two,
// for as long as loops says.
type looping struct {
	Units
	began time.Time
	loops time.Duration
}

func (l *looping) Running(context.Context, string) (bool, time.Duration, error) {
	age := time.Since(l.began)
	if age >= l.loops {
		return true, age - l.loops, nil
	}
	phase := age % (7 * time.Second)
	return phase < 2*time.Second, phase, nil
}

// becomesWith waits for a Node whose kubelet loops for a time.
func becomesWith(t *testing.T, loops time.Duration) (took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &job{Options: Options{
			PollInterval: time.Second, StableFor: 3 * time.Second, SteadyFor: 10 * time.Second, Units: &looping{began: began, loops: loops},
			Node: func(context.Context, string, string) (nodeapi.Node, error) {
				return nodeapi.Node{Ready: true, KubeletVersion: "v1.31.5", InternalIP: "10.200.0.11"}, nil
			},
		}, op: &agentv1.Operation{}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		err = p.becomes(ctx, engine.Run{Say: func(string) {}}, target{"n", "1.31.5", "10.200.0.11"})
		took = time.Since(began)
	})
	return took, err
}

// TestKubeletThatLoopsIsGivenUp: long before the step's deadline, so that the way
// back begins.
func TestKubeletThatLoopsIsGivenUp(t *testing.T) {
	took, err := becomesWith(t, time.Hour)
	if !engine.IsPermanent(err) || !strings.Contains(err.Error(), "ended 8 times in a row") || took > 90*time.Second {
		t.Errorf("after %s: %v", took, err)
	}
	if took, err := becomesWith(t, 20*time.Second); err != nil || took < 30*time.Second {
		t.Errorf("a kubelet that came late: %v after %s", err, took)
	}
}
