package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/agent/operation/journal"
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

// TestProvisionTakenBackFromSystemsManager says that the activation was used, and
// keeps the operator's own files, which nodeadm uninstall would remove.
func TestProvisionTakenBackFromSystemsManager(t *testing.T) {
	t.Parallel()
	h := newBare(t, "", "")
	h.options.Environment["FAKE_BROKEN"] = "1.31.5"
	h.options.ReadyDeadline = 300 * time.Millisecond
	h.put("root/.aws/config")
	var said []string
	h.options.Line = func(_, text string) { said = append(said, text) }
	wantState(t, h.provision(order(1, provisionKind, withSSM)), failed, "did not become Ready")
	wantNone(t, "after the failure", h.leftovers())
	if all := strings.Join(said, "\n"); !strings.Contains(all, "takes another registration of the activation") {
		t.Errorf("said %q", all)
	}
	if got := string(read(t, filepath.Join(h.root, "root/.aws.before-leave/config"))); got != "x" {
		t.Errorf("the copy holds %q", got)
	}
	wantNoSecret(t, h.options.Dir)
}

// TestProvisionWithALostNote takes nothing off where it cannot be told what the host
// was.
func TestProvisionWithALostNote(t *testing.T) {
	t.Parallel()
	h := newBare(t, "init", "permanent")
	h.seam.After = func(record journal.Record) {
		if record.Kind == journal.Intent && record.Step == "nodeadm-init" {
			write(t, filepath.Join(h.options.Dir, heldFile), []byte("half"))
		}
	}
	var said []string
	h.options.Line = func(_, text string) { said = append(said, text) }
	wantState(t, h.provision(order(1, provisionKind, nil)), failed)
	if all := strings.Join(said, "\n"); !strings.Contains(all, "nodeadm's parts stay") {
		t.Errorf("said %q", all)
	}
	h.wantCalls("install ", "config check", "init ")
}
