package lifecycle

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFailedProvisionIsTakenBack: whatever failed, no kubelet is left that nobody
// takes off, and provision again makes the host a node.
func TestFailedProvisionIsTakenBack(t *testing.T) {
	for _, c := range []struct{ command, mode string }{
		{"install", "fail"}, {"install", "noop"}, {"init", "permanent"}, {"init", "panic"}, {"config", "usage"},
	} {
		t.Run(c.command+" "+c.mode, func(t *testing.T) {
			t.Parallel()
			h := newBare(t, c.command, c.mode)
			wantState(t, h.provision(order(1, provisionKind, nil)), failed)
			wantNone(t, "after the failure", h.leftovers())
			h.options.Environment["FAKE_COMMAND"] = ""
			wantState(t, h.provision(order(2, provisionKind, nil)), succeeded)
			h.wantNode("1.31.5", "")
		})
	}
}

// TestProvisionThatCannotBeTakenBack names the next action, and a later one that
// fails takes back what both have left.
func TestProvisionThatCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	h := newBare(t, "uninstall", "permanent")
	h.options.Environment["FAKE_BROKEN"] = "1.31.5"
	h.options.ReadyDeadline = 300 * time.Millisecond
	wantState(t, h.provision(order(1, provisionKind, nil)), failed, "the way back failed", "next action: correct that, then provision the host again")
	h.options.Environment["FAKE_COMMAND"] = ""
	wantState(t, h.provision(order(2, provisionKind, nil)), failed)
	wantNone(t, "after the second", h.leftovers())
}

// TestProvisionLeavesAForeignNodeAlone: a host that was in a cluster before is not
// taken out of it because a provision failed.
func TestProvisionLeavesAForeignNodeAlone(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	for _, record := range []string{"applied", "applied.copy"} {
		remove(t, filepath.Join(h.options.Dir, record))
	}
	h.options.Environment["FAKE_COMMAND"], h.options.Environment["FAKE_MODE"] = "init", "permanent"
	wantState(t, h.provision(order(2, provisionKind, nil)), failed)
	if _, err := os.Stat(filepath.Join(h.root, "run/kubelet")); err != nil {
		t.Error(err)
	}
}
