package lifecycle

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/nodeadm/drain"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// kept is a node whose pod shop/till-1 may not go.
func kept(why drain.Why) *drain.Blocked {
	return &drain.Blocked{Node: "edge-1", Total: 1, Pods: []drain.Stuck{{
		Pod: nodeapi.Pod{Namespace: "shop", Name: "till-1"}, Why: why, Budgets: []string{"till"}, Message: "needs 1 healthy pod",
	}}}
}

// TestABudgetMayPass: a PodDisruptionBudget that allows no disruption when an
// operation begins is waited for, with the node as it is.
func TestABudgetMayPass(t *testing.T) {
	for _, c := range []struct {
		name    string
		kind    agentv1.OperationKind
		timeout time.Duration
	}{{"repave", repaveKind, time.Minute}, {"without a timeout", repaveKind, 0}, {"leave", leaveKind, time.Minute}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			var said []string
			h.options.Line = func(_, text string) { said = append(said, text) }
			looks := 0
			h.kube.onCheck = func() error {
				if looks++; looks > 3 {
					return nil
				}
				if h.kube.cordoned() != "" {
					t.Error("cordoned before the budget allowed it")
				}
				return kept(drain.Budget)
			}
			op := order(2, c.kind, newer)
			op.Drain = &agentv1.DrainOptions{Cordon: true, Timeout: durationpb.New(c.timeout), IgnoreDaemonSets: true}
			wantState(t, h.provision(op), succeeded)
			waited := slices.DeleteFunc(said, func(text string) bool { return !strings.HasPrefix(text, "waiting, with the node as it is") })
			if len(waited) != 1 || !strings.Contains(waited[0], "shop/till-1") || !strings.Contains(waited[0], "PodDisruptionBudget till") {
				t.Errorf("said %q", waited)
			}
		})
	}
}

// TestWhatKeepsADrain is refused: at once where waiting changes nothing, else after
// the drain's timeout, and nothing is changed.
func TestWhatKeepsADrain(t *testing.T) {
	const waits = "the drain's timeout"
	for why, waited := range map[drain.Why]bool{
		drain.Budget: true, drain.Failing: true,
		drain.DaemonSet: false, drain.LocalData: false, drain.Unmanaged: false, drain.Forbidden: false,
	} {
		t.Run(string(why), func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			h.kube.onCheck = func() error { return kept(why) }
			op := order(2, repaveKind, newer)
			op.Drain = &agentv1.DrainOptions{Cordon: true, Timeout: durationpb.New(time.Hour)}
			if waited {
				op.Drain.Timeout = durationpb.New(50 * time.Millisecond)
			}
			end := h.provision(op)
			wantState(t, end, failed, "cannot be drained", "shop/till-1")
			if got := strings.Contains(end.GetMessage(), waits); got != waited {
				t.Errorf("message = %q", end.GetMessage())
			}
			h.wantNode("1.31.5", "")
			h.wantCalls()
			if h.kube.cordons > 0 {
				t.Error("cordoned")
			}
		})
	}
}

// TestAbortEndsTheWaitForABudget at once.
func TestAbortEndsTheWaitForABudget(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	h.kube.onCheck = func() error { return kept(drain.Budget) }
	op := order(2, repaveKind, newer)
	op.Drain = &agentv1.DrainOptions{Cordon: true}
	end, err := h.abortAt(op, "preflight")
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, end, aborted)
	h.wantNode("1.31.5", "")
}
