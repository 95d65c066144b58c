package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestLeaveThenJoinAnotherCluster: nothing of the former cluster is in the way of
// the next one, without anybody's help.
func TestLeaveThenJoinAnotherCluster(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	h.put("var/lib/kubelet/cpu_manager_state", "etc/cni/net.d/05-cilium.conflist", "var/lib/cni/networks/x", "eks-hybrid/.aws/credentials", "state/node-labels")
	wantState(t, h.provision(order(2, leaveKind, nil)), succeeded)
	h.wantCalls("uninstall --skip pod-validation")
	for _, path := range []string{
		"etc/aws", "etc/sysctl.d/99-nodeadm.conf", "etc/modules-load.d/containerd.conf", "etc/containerd/config.d/00-nodeadm.toml",
		"var/lib/kubelet", "var/lib/cni", "etc/cni/net.d", "eks-hybrid", "etc/kubernetes", "opt/nodeadm", "usr/bin/kubelet",
		"etc/systemd/system/kubelet.service", "etc/systemd/system/multi-user.target.wants/kubelet.service",
		"etc/iam/pki/server.pem", "etc/iam/pki/server.key", "state/nodeconfig.yaml", "state/applied", "state/applied.copy", "state/node-labels", "state/installed", "state/held",
	} {
		if _, err := os.Lstat(filepath.Join(h.root, path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if state, found, err := applied.ReadState(h.options.Dir); found || err != nil {
		t.Errorf("recorded = %+v, %v", state, err)
	}
	h.kube.clear("unschedulable") // the Node of another cluster
	installCertificate(t, h.options.Keys)
	again := order(3, provisionKind, func(spec *agentv1.NodeSpec) { spec.ClusterName = "other"; newer(spec) })
	wantState(t, h.provision(again), succeeded)
	h.wantNode("1.32.3", "")
}

// put makes files below the host's root.
func (h *host) put(paths ...string) {
	h.t.Helper()
	for _, path := range paths {
		full := filepath.Join(h.root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			h.t.Fatal(err)
		}
		write(h.t, full, []byte("x"))
	}
}

// TestLeaveSaysWhatStays: the Node object, which a node may not delete, with the
// command that does.
func TestLeaveSaysWhatStays(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	var said []string
	h.options.Line = func(_, text string) { said = append(said, text) }
	wantState(t, h.provision(order(2, leaveKind, nil)), succeeded)
	if !slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, "kubectl delete node "+optest.HostID) }) {
		t.Errorf("said %q", said)
	}
}

// TestLeaveWithoutTheAPI is refused, unless it is forced; then nothing is cordoned or
// drained, and nodeadm's checks, which would ask the API, are left out.
func TestLeaveWithoutTheAPI(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	h.kube.set("down", "")
	wantState(t, h.provision(order(2, leaveKind, nil)), failed, "the Kubernetes API did not answer", "force it", "ended on this host", "the Node object stays")
	h.wantCalls()
	forced := order(3, leaveKind, nil)
	forced.Force = true
	wantState(t, h.provision(forced), succeeded)
	h.wantCalls("uninstall --skip pod-validation,node-validation")
	if h.kube.cordons+h.kube.drains > 0 {
		t.Error("cordoned or drained without the API")
	}
}

// TestLeaveFromHalfAHost: whatever an interrupted uninstall left, another leave ends
// it.
func TestLeaveFromHalfAHost(t *testing.T) {
	for _, c := range []struct {
		name string
		ruin func(*host)
	}{
		{"lost tracker", func(h *host) { remove(h.t, filepath.Join(h.root, "opt/nodeadm/tracker")) }},
		{"empty tracker", func(h *host) { write(h.t, filepath.Join(h.root, "opt/nodeadm/tracker"), nil) }},
		{"lost kubelet", func(h *host) { remove(h.t, filepath.Join(h.root, "usr/bin/kubelet")) }},
		{"foreign cordon", func(h *host) { h.kube.set("unschedulable", "") }},
		{"cordon: false", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			op := order(2, leaveKind, nil)
			if c.ruin == nil {
				op.Drain = &agentv1.DrainOptions{IgnoreDaemonSets: true}
			} else {
				c.ruin(h)
			}
			wantState(t, h.provision(op), succeeded)
			if _, found, err := applied.ReadState(h.options.Dir); found || err != nil {
				t.Errorf("recorded: %v, %v", found, err)
			}
			if _, err := os.Stat(filepath.Join(h.root, "opt/nodeadm")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("/opt/nodeadm is left: %v", err)
			}
		})
	}
}

// TestLeaveThatFailsIsSubmittedAgain: past the point of return nothing is taken back,
// and another leave goes on from there.
func TestLeaveThatFailsIsSubmittedAgain(t *testing.T) {
	t.Parallel()
	h := newNode(t, "uninstall", "permanent")
	wantState(t, h.provision(order(2, leaveKind, nil)), failed, "have the host leave again")
	h.options.Environment["FAKE_COMMAND"] = ""
	wantState(t, h.provision(order(3, leaveKind, nil)), succeeded)
}

// TestLeaveKeepsTheOperatorsAWSFiles: nodeadm uninstall removes /root/.aws with
// Systems Manager.
func TestLeaveKeepsTheOperatorsAWSFiles(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("record lost: %v", lost), func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "", "")
			h.live()
			op := optest.Operation(1)
			withSSM(op.Node)
			wantState(t, h.provision(op), succeeded)
			h.put("root/.aws/config", "root/.aws/credentials")
			if lost {
				remove(t, filepath.Join(h.options.Dir, "applied"))
				remove(t, filepath.Join(h.options.Dir, "applied.copy"))
			}
			wantState(t, h.provision(order(2, leaveKind, nil)), succeeded)
			if got := string(read(t, filepath.Join(h.root, "root/.aws.before-leave/config"))); got != "x" {
				t.Errorf("the copy holds %q", got)
			}
			if _, err := os.Stat(filepath.Join(h.root, "root/.aws.before-leave/credentials")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the agent's credentials were copied: %v", err)
			}
		})
	}
}

// TestLeaveOfNoNode does nothing, and says so.
func TestLeaveOfNoNode(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.live()
	wantState(t, h.provision(order(1, leaveKind, nil)), succeeded)
	h.wantCalls()
}

// TestLeaveEndsContainers: uninstall leaves them running.
func TestLeaveEndsContainers(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	ctr := filepath.Join(h.root, "bin/ctr")
	write(t, ctr, []byte("#!/bin/sh\necho \"$*\" >> "+h.root+"/ctr.calls\ncase \"$3 $4\" in\n'tasks ls') [ -e "+h.root+"/ended ] || echo pod-1 ;;\n'containers ls') echo pod-1 ;;\n'tasks rm') : > "+h.root+"/ended ;;\nesac\n"))
	chmod(t, ctr, 0o755)
	wantState(t, h.provision(order(2, leaveKind, nil)), succeeded)
	calls := string(read(t, filepath.Join(h.root, "ctr.calls")))
	for _, want := range []string{"-n k8s.io tasks kill -s SIGKILL -a pod-1", "-n k8s.io tasks rm -f pod-1", "-n k8s.io containers rm pod-1"} {
		if !strings.Contains(calls, want) {
			t.Errorf("ctr was called with %q, want %q", calls, want)
		}
	}
}
