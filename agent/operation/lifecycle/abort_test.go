package lifecycle

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	"hybridagent/nodeadm/drain"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// abortAt runs an operation and aborts it as the intent of a step is on disk; the
// abort's own answer is returned too.
func (h *host) abortAt(op *agentv1.Operation, step string) (*agentv1.OperationProgress, error) {
	h.t.Helper()
	var e *engine.Engine
	answer := make(chan error, 1)
	begun := false
	h.seam.After = func(record journal.Record) {
		if record.Kind == journal.Intent && record.Step == step && !begun {
			begun = true
			// Before the step is done: what has gone past the last one is not aborted.
			_, err := e.Abort(op.GetId(), "local root")
			answer <- err
		}
	}
	e = h.engine()
	defer e.Close()
	if err := e.Submit(op, optest.NewAuthority(h.t).Sign(h.t, op).GetOperation()); err != nil {
		h.t.Fatal(err)
	}
	end := h.follow(e)
	select {
	case err := <-answer:
		return end, err
	case <-time.After(10 * time.Second):
		h.t.Fatalf("step %s was never begun", step)
		return nil, nil
	}
}

// TestAbortAtEveryStep: until it is recorded, a repave that is aborted ends with the
// former version Ready and uncordoned.
func TestAbortAtEveryStep(t *testing.T) {
	steps := []string{"preflight", "vpc-route", "stage", "render-config", "nodeadm-config-check", "fstab", "cordon", "drain",
		"hold-former", "containerd-drop-in", "nodeadm-upgrade", "node-ready", "uncordon"}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			end, err := h.abortAt(order(2, repaveKind, newer), step)
			if err != nil {
				t.Fatalf("Abort = %v", err)
			}
			wantState(t, end, aborted, "aborted by local root", "the node is what it was: Kubernetes 1.31.5")
			h.wantNode("1.31.5", "")
		})
	}
}

// TestWayBackAfterUncordonDrains: pods may be back by then, and nodeadm is told not
// to look for them.
func TestWayBackAfterUncordonDrains(t *testing.T) {
	t.Run("aborted", func(t *testing.T) {
		t.Parallel()
		h := newNode(t, "", "")
		end, err := h.abortAt(order(2, repaveKind, newer), "uncordon")
		if err != nil {
			t.Fatal(err)
		}
		wantState(t, end, aborted)
		h.wantNode("1.31.5", "")
		if h.kube.drains != 2 {
			t.Errorf("drained %d times, want twice", h.kube.drains)
		}
	})
	for name, blocked := range map[string]error{"not recorded": nil, "not recorded, and pods stay": kept(drain.Budget)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			h.seam.After = func(record journal.Record) {
				switch file, aside := filepath.Join(h.options.Dir, "applied"), filepath.Join(h.root, "aside"); {
				case record.Step != "record":
				case record.Kind == journal.Intent:
					// No file takes a folder's place.
					rename(t, file, aside)
					h.put("state/applied/x")
					h.kube.blocked = blocked
				case record.Kind == journal.Failed:
					rename(t, file, filepath.Join(h.root, "folder"))
					rename(t, aside, file)
				}
			}
			wantState(t, h.provision(order(2, repaveKind, newer)), failed, "applied", "the node is what it was")
			h.wantNode("1.31.5", "")
			if want := 2; blocked == nil && h.kube.drains != want {
				t.Errorf("drained %d times, want %d", h.kube.drains, want)
			}
		})
	}
}

// TestAbortOfAProvision takes nodeadm's parts off again: the host is what it was
// before, and the next provision makes it a node.
func TestAbortOfAProvision(t *testing.T) {
	for _, step := range []string{"preflight", "fstab", "hold-former", "nodeadm-install", "render-config", "nodeadm-config-check", "nodeadm-init", "node-ready"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := newBare(t, "", "")
			end, err := h.abortAt(order(1, provisionKind, nil), step)
			if err != nil {
				t.Fatalf("Abort = %v", err)
			}
			wantState(t, end, aborted, "aborted by local root")
			wantNone(t, step, h.leftovers())
			h.seam.After = func(journal.Record) {}
			wantState(t, h.provision(order(2, provisionKind, nil)), succeeded)
			h.wantNode("1.31.5", "")
		})
	}
}

// TestAbortOfAHangingDrain ends it at once, and uncordons.
func TestAbortOfAHangingDrain(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	op := order(2, repaveKind, newer)
	e := h.engine()
	defer e.Close()
	h.kube.onDrain = func() { go func() { _, _ = e.Abort(op.GetId(), "local root") }() }
	if err := e.Submit(op, optest.NewAuthority(t).Sign(t, op).GetOperation()); err != nil {
		t.Fatal(err)
	}
	wantState(t, h.follow(e), aborted)
	h.wantNode("1.31.5", "")
	h.wantCalls("config check")
}

// TestAbortOfALeave is taken until nodeadm takes the node apart.
func TestAbortOfALeave(t *testing.T) {
	for _, step := range []string{"preflight", "cordon", "drain"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			end, err := h.abortAt(order(2, leaveKind, nil), step)
			if err != nil {
				t.Fatal(err)
			}
			wantState(t, end, aborted)
			h.wantNode("1.31.5", "")
			h.wantCalls()
		})
	}
	t.Run("past the point of return", func(t *testing.T) {
		t.Parallel()
		h := newNode(t, "", "")
		end, err := h.abortAt(order(2, leaveKind, nil), "nodeadm-uninstall")
		if refusedAs(err) != agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION {
			t.Errorf("Abort = %v", err)
		}
		wantState(t, end, succeeded)
	})
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Error(err)
	}
}
