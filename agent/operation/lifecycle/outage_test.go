package lifecycle

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/optest"
	"hybridagent/nodeadm/nodeapi"
)

// onWaiting calls back when the way back first says that it waits.
func (h *host) onWaiting(do func()) {
	waited := false
	h.options.Line = func(_, text string) {
		if !waited && strings.HasPrefix(text, "waiting: the way back") {
			waited = true
			do()
		}
	}
}

// TestOutageOnTheWay: the network goes away in the middle of an upgrade, with new
// binaries on disk. The way back waits for it, and stops nothing meanwhile.
func TestOutageOnTheWay(t *testing.T) {
	t.Parallel()
	h := newNode(t, "upgrade", "outage")
	h.onWaiting(func() {
		h.wantCalls("config check", "upgrade 1.32.3 ", "upgrade 1.32.3 ", "upgrade 1.32.3 ")
		if running := string(read(t, filepath.Join(h.root, "run/kubelet"))); running != "1.31.5\n" {
			t.Errorf("kubelet runs as %q", running)
		}
		h.kube.clear("down")
	})
	wantState(t, h.provision(order(2, repaveKind, newer)), failed, "DescribeCluster", "the node is what it was: Kubernetes 1.31.5")
	h.wantNode("1.31.5", "")
}

// TestOutageOverARestart: the wait goes on after it.
func TestOutageOverARestart(t *testing.T) {
	t.Parallel()
	h := newNode(t, "upgrade", "outage")
	waiting := make(chan struct{})
	h.onWaiting(func() { close(waiting) })
	op := order(2, repaveKind, newer)
	first := h.engine()
	if err := first.Submit(op, optest.NewAuthority(t).Sign(t, op).GetOperation()); err != nil {
		t.Fatal(err)
	}
	<-waiting
	first.Close()
	h.onWaiting(func() { h.kube.clear("down") })
	second := h.engine()
	defer second.Close()
	if err := second.Resume(); err != nil {
		t.Fatal(err)
	}
	wantState(t, h.follow(second), failed, "the node is what it was: Kubernetes 1.31.5")
	h.wantNode("1.31.5", "")
}

// TestOutageInADrain: the cordon is taken back as soon as the API answers.
func TestOutageInADrain(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	looks := 0
	p := &job{Options: h.options.withDefaults(), op: order(2, repaveKind, newer)}
	p.spec, p.former.Node, p.decided.NodeName = p.op.GetNode(), p.op.GetNode(), "edge-1"
	p.Cluster = func(string) (Cluster, error) {
		if looks++; looks > 20 {
			h.kube.clear("down")
		}
		return h.kube, nil
	}
	h.kube.set("down", "")
	h.kube.set("unschedulable", cordonMark)
	p.former.NodeIP = p.nodeIP
	if err := p.undoCordon(t.Context(), quiet()); err != nil || h.kube.cordoned() != "" {
		t.Errorf("undoCordon = %v, cordoned by %q", err, h.kube.cordoned())
	}
}

// TestLongOutageIsSurvived: one try of each undo waits for 3 h and has its time to
// work after that.
func TestLongOutageIsSurvived(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	op := order(2, repaveKind, newer)
	plan, err := Plan(t.Context(), h.options, op, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, step := range plan.Steps {
		if step.Name == "cordon" || step.Name == "hold-former" {
			found++
			if step.UndoDeadline < 3*time.Hour+rollbackDeadline {
				t.Errorf("%s: a try of the undo ends after %s", step.Name, step.UndoDeadline)
			}
		}
	}
	if found != 2 {
		t.Errorf("found %d steps, want 2", found)
	}
}

// TestThoroughWayHasItsTime: a node that the short way never gets Ready is brought
// back by the thorough one.
func TestThoroughWayHasItsTime(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	h.options.ReadyDeadline, h.options.RollbackDeadline = 300*time.Millisecond, 4*time.Second
	h.options.Node = func(ctx context.Context, _, name string) (nodeapi.Node, error) {
		node, err := h.kube.Node(ctx, name)
		if !strings.Contains(strings.Join(h.calls(), "\n"), "install 1.31.5") {
			node.Ready, node.Reason = false, "KubeletNotReady"
		}
		return node, err
	}
	wantState(t, h.provision(order(2, repaveKind, newer)), failed, "the node is what it was: Kubernetes 1.31.5")
	h.wantNode("1.31.5", "")
	h.wantCalls("config check", "upgrade 1.32.3 ", "upgrade 1.31.5 ", "install 1.31.5 ", "init ")
}

// unit is kubelet's unit, in the file that the double of nodeadm writes.
type unit struct{ root string }

func (u unit) file() string { return filepath.Join(u.root, "run/kubelet") }

func (u unit) Running(context.Context, string) (bool, time.Duration, error) {
	_, err := os.Stat(u.file())
	return err == nil, time.Hour, nil
}

func (u unit) Stop(context.Context, string) error { return removeAll(u.file()) }

func (u unit) Reload(context.Context) error { return nil }

// TestStoppedKubeletIsStartedAgain: an operation that was forced without the API and
// has only stopped kubelet is no node that is what it was.
func TestStoppedKubeletIsStartedAgain(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	h.options.Units = unit{h.root}
	h.kube.set("down", "")
	op := order(2, repaveKind, withSSM)
	op.Force = true
	end, err := h.abortAt(op, "nodeadm-uninstall")
	if err != nil {
		t.Fatal(err)
	}
	h.kube.clear("down")
	wantState(t, end, aborted, "the node is what it was: Kubernetes 1.31.5")
	h.wantNode("1.31.5", "")
}

// quiet is a run that nobody watches.
func quiet() engine.Run { return engine.Run{Say: func(string) {}, Line: func(string) {}} }
