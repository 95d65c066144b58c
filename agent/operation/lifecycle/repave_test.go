package lifecycle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/agent/operation/optest"
	"hybridagent/nodeadm/change"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestRepave goes each path to its end.
func TestRepave(t *testing.T) {
	for _, c := range []struct {
		name    string
		kind    agentv1.OperationKind
		change  func(*agentv1.NodeSpec)
		version string
		drains  int
		calls   []string
	}{
		{"none: nothing differs", repaveKind, nil, "1.31.5", 0, nil},
		{"init: kubelet configuration", repaveKind, maxPods, "1.31.5", 0, []string{"config check", "init "}},
		{"init by reconfigure", reconfigureKind, maxPods, "1.31.5", 0, []string{"config check", "init "}},
		{"upgrade", repaveKind, newer, "1.32.3", 1, []string{"config check", "upgrade 1.32.3 "}},
		{"one minor lower", repaveKind, older, "1.30.4", 1, []string{"config check", "upgrade 1.30.4 "}},
		{"reinstall: another credential provider", repaveKind, withSSM, "1.31.5", 1,
			[]string{"config check", "uninstall ", "install 1.31.5 -p ssm", "init "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			wantState(t, h.provision(order(2, c.kind, c.change)), succeeded)
			h.wantNode(c.version, "")
			h.wantCalls(c.calls...)
			if h.kube.drains != c.drains {
				t.Errorf("drained %d times, want %d", h.kube.drains, c.drains)
			}
		})
	}
}

// TestUpgradeSkipsPodValidationOnlyAfterOurDrain: nodeadm's own check counts pods
// that no drain can move.
func TestUpgradeSkipsPodValidationOnlyAfterOurDrain(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	wantState(t, h.provision(order(2, repaveKind, newer)), succeeded)
	if call := h.calls()[1]; !strings.Contains(call, "pod-validation") || strings.Contains(call, "node-validation") {
		t.Errorf("upgrade = %q", call)
	}
}

// TestForeignCordonStays: only what we cordoned is uncordoned.
func TestForeignCordonStays(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	h.kube.set("unschedulable", "")
	wantState(t, h.provision(order(2, repaveKind, newer)), succeeded)
	h.wantNode("1.32.3", "somebody")
}

// TestFailedChangesReturn is the mini-language of what goes wrong: after each, the
// node is what it was, Ready and uncordoned, or what it was to become.
func TestFailedChangesReturn(t *testing.T) {
	for _, c := range []struct {
		name, command, mode string
		change              func(*agentv1.NodeSpec)
		state               agentv1.OperationState
		version             string
		fragments           []string
	}{
		{"upgrade fails at DescribeCluster with new binaries on disk", "upgrade", "describe", newer, failed, "1.31.5", []string{"eks:DescribeCluster", "the node is what it was: Kubernetes 1.31.5"}},
		{"upgrade fails before anything", "upgrade", "fail", newer, failed, "1.31.5", []string{"connection refused", "Kubernetes 1.31.5"}},
		{"upgrade does nothing and says nothing", "upgrade", "noop", newer, failed, "1.31.5", []string{"having done nothing"}},
		{"power cut leaves no kubelet: install, then upgrade", "upgrade", "cut-kubelet", newer, succeeded, "1.32.3", nil},
		{"power cut leaves a truncated kubelet: upgrade again", "upgrade", "cut-truncated", newer, succeeded, "1.32.3", nil},
		{"power cut leaves an empty config.json: init, then upgrade", "upgrade", "cut-config", newer, succeeded, "1.32.3", nil},
		{"power cut leaves an empty tracker: delete, install, then upgrade", "upgrade", "cut-tracker", newer, succeeded, "1.32.3", nil},
		{"init is refused for good", "init", "permanent", maxPods, failed, "1.31.5", []string{"remote network CIDR"}},
		{"init is tried again", "init", "failonce", maxPods, succeeded, "1.31.5", nil},
		{"config check refuses", "config", "usage", newer, failed, "1.31.5", []string{"unknown flag"}},
		{"reinstall fails at install", "install", "failonce", withSSM, succeeded, "1.31.5", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, c.command, c.mode)
			wantState(t, h.provision(order(2, repaveKind, c.change)), c.state, c.fragments...)
			h.wantNode(c.version, "")
		})
	}
}

// TestBrokenKubeletReturns: a kubelet that exits at once, for which nodeadm waits
// without end, and one that exits after nodeadm has said that all is well, end
// Ready on the former version.
func TestBrokenKubeletReturns(t *testing.T) {
	for _, breaks := range []string{"at once", "later"} {
		t.Run(breaks, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			h.options.Environment["FAKE_BROKEN"], h.options.Environment["FAKE_BREAKS"] = "1.32.3", breaks
			h.options.UpgradeDeadline, h.options.ReadyDeadline = 2*time.Second, 2*time.Second
			wantState(t, h.provision(order(2, repaveKind, newer)), failed, "the node is what it was: Kubernetes 1.31.5")
			h.wantNode("1.31.5", "")
			h.wantCalls("config check", "upgrade 1.32.3 ", "upgrade 1.31.5 ")
		})
	}
}

// TestDefaultDeadlinesReturnInTime: from where an upgrade or init begins to fail, a
// node is Ready on the former version within 10 minutes, by the sum of all that may
// be waited for: the tries of the change (4 min), the wait for Ready of a kubelet
// that dies only then (4 min), and a way back on which nodeadm works (2 min). Where
// the change itself fails, the whole short way back may hang to its end.
func TestDefaultDeadlinesReturnInTime(t *testing.T) {
	t.Parallel()
	const promised, back = 10 * time.Minute, 2 * time.Minute
	for path, changes := range map[change.Path]string{change.Upgrade: "nodeadm-upgrade", change.Init: "nodeadm-init"} {
		p := &job{Options: Options{}.withDefaults(), op: order(2, repaveKind, newer), spec: optest.NodeSpec()}
		p.decided.Path, p.decided.Drain = path, true
		steps, err := p.repaveSteps()
		if err != nil {
			t.Fatal(err)
		}
		longest := map[string]time.Duration{}
		for _, step := range steps {
			longest[step.Name] = time.Duration(max(step.Attempts, 1)) * step.Deadline
			if step.Together > 0 {
				longest[step.Name] = min(longest[step.Name], step.Together)
			}
		}
		change, ready := longest[changes], longest["node-ready"]
		if change == 0 || ready == 0 {
			t.Fatalf("%s: no bound: %v", path, longest)
		}
		if sum := change + ready + back; sum > promised {
			t.Errorf("%s: %s of tries + %s for Ready + %s back = %s", path, change, ready, back, sum)
		}
		if sum := max(change, ready) + p.shortWay(); sum > promised {
			t.Errorf("%s: %s + %s of the short way back = %s", path, max(change, ready), p.shortWay(), sum)
		}
	}
}

// TestWayBackIsTriedAgain: AWS denies the way there, the short way back and the
// thorough one, and then no more: the node is what it was.
func TestWayBackIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	h.options.Environment["FAKE_DENIED"] = "3"
	wantState(t, h.provision(order(2, repaveKind, newer)), failed, "ecr:GetAuthorizationToken", "the node is what it was: Kubernetes 1.31.5")
	h.wantNode("1.31.5", "")
	h.wantCalls("config check", "upgrade 1.32.3 ", "upgrade 1.31.5 ", "install 1.31.5 ", "init ", "init ")
}

// TestHangingShortWayBack leaves time for the thorough one.
func TestHangingShortWayBack(t *testing.T) {
	t.Parallel()
	h := newNode(t, "upgrade", "hangs")
	h.options.UpgradeDeadline, h.options.RollbackDeadline = 2*time.Second, 10*time.Second
	wantState(t, h.provision(order(2, repaveKind, newer)), failed, "the node is what it was: Kubernetes 1.31.5")
	h.wantNode("1.31.5", "")
	h.wantCalls("config check", "upgrade 1.32.3 ", "upgrade 1.32.3 ", "upgrade 1.31.5 ", "install 1.31.5 ", "init ")
}

// TestWayBackFails: where even the way back fails, the last message names one next
// action.
func TestWayBackFails(t *testing.T) {
	t.Parallel()
	h := newNode(t, "upgrade", "describe")
	h.options.Environment["FAKE_BROKEN"] = "1.31.5"
	h.options.ReadyDeadline, h.options.RollbackDeadline = time.Second, 2*time.Second
	end := h.provision(order(2, repaveKind, newer))
	wantState(t, end, failed, "the way back failed", "next action: ")
	if strings.Count(end.GetMessage(), "next action: ") != 1 {
		t.Errorf("message = %q", end.GetMessage())
	}
	if h.kube.cordoned() != "" {
		t.Error("the node is left cordoned")
	}
}

// TestRefusals is what an operator reads instead of a change, and that nothing was
// touched.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name      string
		prepare   func(*host, *agentv1.Operation)
		kind      agentv1.OperationKind
		change    func(*agentv1.NodeSpec)
		fragments []string
	}{
		{"newer than the API server", func(h *host, _ *agentv1.Operation) { h.kube.version = "v1.31.9" }, repaveKind, newer, []string{"1.32.3", "1.31"}},
		{"more than three minors older", func(h *host, _ *agentv1.Operation) { h.kube.version = "v1.35.0" }, repaveKind, maxPods, []string{"1.31", "1.35"}},
		{"cordon: false with an upgrade", func(_ *host, op *agentv1.Operation) {
			op.Drain = &agentv1.DrainOptions{IgnoreDaemonSets: true, GracePeriodSeconds: 60}
		}, repaveKind, newer, []string{"cordon: false"}},
		{"API unreachable", func(h *host, _ *agentv1.Operation) { h.kube.set("down", "") }, repaveKind, newer, []string{"Kubernetes API did not answer"}},
		{"API unreachable, reconfigure", func(h *host, _ *agentv1.Operation) { h.kube.set("down", "") }, reconfigureKind, maxPods, []string{"Kubernetes API did not answer"}},
		{"a PodDisruptionBudget", func(h *host, _ *agentv1.Operation) {
			h.kube.blocked = errors.New("pod shop/till-1 is kept by PodDisruptionBudget till")
		}, repaveKind, newer, []string{"cannot be drained", "shop/till-1", "PodDisruptionBudget till"}},
		{"reconfigure that needs more", nil, reconfigureKind, newer, []string{"cannot reconfigure", "repave"}},
		{"full disk", func(h *host, _ *agentv1.Operation) {
			h.options.FreeBytes = func(string) (uint64, error) { return 1000, nil }
		}, repaveKind, newer, []string{"16777216 bytes must be free", "free 16776216 bytes"}},
		{"invalid kubelet field", nil, repaveKind, func(spec *agentv1.NodeSpec) {
			spec.KubeletConfigJson = []byte(`{"maxPods":"abc","noSuchFieldAtAll":1}`)
		}, []string{`maxPods is "abc", not a whole number`, "noSuchFieldAtAll is no field of kubelet's configuration", "correct it in the HybridProfile"}},
		{"invalid kubelet flag", nil, repaveKind, func(spec *agentv1.NodeSpec) { spec.KubeletFlags = []string{"--hostname-override=x"} }, []string{"nodeadm refuses it"}},
		{"node IP outside the remote node CIDRs", nil, repaveKind, func(spec *agentv1.NodeSpec) { spec.RemoteNodeCidrs = []string{"10.0.0.0/8"}; newer(spec) }, []string{"in none of the remote node CIDRs"}},
		{"another kind", nil, agentv1.OperationKind(99), newer, []string{"kind"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			op := order(2, c.kind, c.change)
			if c.prepare != nil {
				c.prepare(h, op)
			}
			wantState(t, h.provision(op), failed, c.fragments...)
			h.kube.clear("down")
			h.wantNode("1.31.5", "")
			h.wantCalls()
			if h.kube.cordons+h.kube.drains > 0 {
				t.Errorf("cordoned %d times, drained %d times", h.kube.cordons, h.kube.drains)
			}
		})
	}
}

// TestForcedWithoutTheAPI says what it does without and what it cannot do without.
func TestForcedWithoutTheAPI(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	var said []string
	h.options.Line = func(_, text string) { said = append(said, text) }
	h.options.ReadyDeadline, h.options.RollbackDeadline = time.Second, time.Second
	h.kube.set("down", "")
	op := order(2, reconfigureKind, maxPods)
	op.Force = true
	wantState(t, h.provision(op), failed, "did not become Ready", "connection refused", "next action: see to it that the host reaches the Kubernetes API")
	if all := strings.Join(said, "\n"); !strings.Contains(all, "forced without the Kubernetes API: no pod is moved away") {
		t.Errorf("said %q", all)
	}
}

// TestContainerdDropInGoes: nodeadm leaves the file of a configuration that the
// NodeConfig no longer names, and containerd goes on reading it.
func TestContainerdDropInGoes(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	toml := func(spec *agentv1.NodeSpec) { spec.ContainerdConfig = "version = 2\n" }
	wantState(t, h.provision(order(2, repaveKind, toml)), succeeded)
	file := filepath.Join(h.root, "etc/containerd/config.d/00-nodeadm.toml")
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	back := order(3, repaveKind, maxPods)
	wantState(t, h.provision(back), succeeded)
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the drop-in is left: %v", err)
	}
}

// TestSSMKeepsItsInstance: an upgrade keeps the mi- ID and needs no activation
// code; the code is nowhere on the host.
func TestSSMKeepsItsInstance(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.live()
	write(t, filepath.Join(h.root, "etc/fstab"), nil)
	op := optest.Operation(1)
	withSSM(op.Node)
	wantState(t, h.provision(op), succeeded)
	next := order(2, repaveKind, func(spec *agentv1.NodeSpec) {
		withSSM(spec)
		newer(spec)
		spec.GetAccess().GetSsm().ActivationCode = ""
	})
	wantState(t, h.provision(next), succeeded)
	h.wantNode("1.32.3", "")
	wantNoSecret(t, h.root)
}

// wantNoSecret looks for the activation code in every file below a folder.
func wantNoSecret(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == "nodeadm" {
			return err
		}
		if content := read(t, path); strings.Contains(string(content), "sekrit") {
			t.Errorf("%s holds the activation code", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestActivationFailures: expired, wrong and used-up each say what they are.
func TestActivationFailures(t *testing.T) {
	messages := map[string]bool{}
	for _, mode := range []string{"expired", "invalid", "used"} {
		h := newHost(t, "init", mode)
		write(t, filepath.Join(h.root, "etc/fstab"), nil)
		op := optest.Operation(1)
		withSSM(op.Node)
		end := h.provision(op)
		wantState(t, end, failed, "activation")
		messages[end.GetMessage()] = true
		wantNoSecret(t, h.options.Dir)
	}
	if len(messages) != 3 {
		t.Errorf("messages = %v, want three different ones", messages)
	}
}

// TestConfigurationReturnsByInit: kubelet configuration under which the node does
// not become Ready goes back without a drain, and without an upgrade, which would
// insist on one.
func TestConfigurationReturnsByInit(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	h.options.ReadyDeadline = 300 * time.Millisecond
	h.options.Node = func(ctx context.Context, _, name string) (nodeapi.Node, error) {
		node, err := h.kube.Node(ctx, name)
		if strings.Contains(string(read(t, filepath.Join(h.root, "etc/kubernetes/kubelet/config.json"))), "maxPods: 7") {
			node.Ready, node.Reason = false, "KubeletNotReady"
		}
		return node, err
	}
	wantState(t, h.provision(order(2, reconfigureKind, maxPods)), failed, "KubeletNotReady", "the node is what it was")
	h.wantNode("1.31.5", "")
	h.wantCalls("config check", "init ", "init ")
	if h.kube.drains+h.kube.cordons > 0 {
		t.Error("drained or cordoned")
	}
}
