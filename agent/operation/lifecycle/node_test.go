package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/optest"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// kube is the Kubernetes API as the node sees it: what the double of nodeadm did to
// kubelet, and who cordoned. It lives in files, as a power cut must not end it.
type kube struct {
	root    string
	version string
	// blocked is what keeps a drain from its end.
	blocked error
	// drains and cordons count what was asked for.
	mutex           sync.Mutex
	drains, cordons int
	// onDrain is called in the middle of a drain.
	onDrain func()
	// onCheck is asked what keeps a drain from its end; may be nil.
	onCheck func() error
}

func (k *kube) file(name string) string { return filepath.Join(k.root, "cluster", name) }

func (k *kube) set(name, content string) {
	_ = os.MkdirAll(k.file("."), 0o755)
	if err := os.WriteFile(k.file(name), []byte(content), 0o644); err != nil {
		panic(err)
	}
}

func (k *kube) clear(name string) { _ = os.Remove(k.file(name)) }

func (k *kube) get(name string) (string, bool) {
	content, err := os.ReadFile(k.file(name))
	return string(content), err == nil
}

func (k *kube) down() error {
	if _, down := k.get("down"); down {
		return fmt.Errorf("%w: dial tcp 10.100.0.10:443: connection refused", nodeapi.ErrUnreachable)
	}
	return nil
}

// Node is what kubelet has reported; one that died is not Ready any more.
func (k *kube) Node(_ context.Context, name string) (nodeapi.Node, error) {
	if err := k.down(); err != nil {
		return nodeapi.Node{}, err
	}
	running, err := os.ReadFile(filepath.Join(k.root, "run/kubelet"))
	if err != nil {
		return nodeapi.Node{}, nodeapi.ErrNoNode
	}
	node := nodeapi.Node{Name: name, InternalIP: "127.0.0.1", Ready: true, Reason: "KubeletReady"}
	node.KubeletVersion = "v" + strings.TrimSpace(string(running)) + "-eks-abc"
	if node.KubeletVersion == "vdead-eks-abc" {
		node.Ready, node.Reason, node.Message = false, "NodeStatusUnknown", "Kubelet stopped posting node status."
	}
	node.CordonedBy, node.Unschedulable = k.get("unschedulable")
	return node, nil
}

func (k *kube) ServerVersion(context.Context) (string, error) { return k.version, k.down() }

func (k *kube) Cordon(_ context.Context, _, mark string) (bool, error) {
	if err := k.down(); err != nil {
		return false, err
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.cordons++
	if _, already := k.get("unschedulable"); already {
		return true, nil
	}
	k.set("unschedulable", mark)
	return false, nil
}

func (k *kube) Uncordon(_ context.Context, _, mark string) (bool, error) {
	if err := k.down(); err != nil {
		return false, err
	}
	by, cordoned := k.get("unschedulable")
	if !cordoned || by != mark {
		return false, nil
	}
	k.clear("unschedulable")
	return true, nil
}

func (k *kube) CheckDrain(context.Context, string, *agentv1.DrainOptions) error {
	if k.onCheck != nil {
		return k.onCheck()
	}
	return errors.Join(k.down(), k.blocked)
}

func (k *kube) Drain(ctx context.Context, _ string, _ *agentv1.DrainOptions, say func(string)) error {
	if err := errors.Join(k.down(), k.blocked); err != nil {
		return err
	}
	k.mutex.Lock()
	k.drains++
	k.mutex.Unlock()
	if k.onDrain != nil {
		k.onDrain()
		<-ctx.Done()
		return ctx.Err()
	}
	say("pods moved away")
	k.set("pods", "")
	return nil
}

func (k *kube) Close() {}

// cordoned says who cordoned the node; empty: nobody.
func (k *kube) cordoned() string {
	by, cordoned := k.get("unschedulable")
	if cordoned && by == "" {
		return "somebody"
	}
	return by
}

// newNode is a host that was provisioned with optest's node part, and runs pods.
func newNode(t *testing.T, command, mode string) *host {
	t.Helper()
	h := newHost(t, "", "")
	h.live()
	write(t, filepath.Join(h.root, "etc/fstab"), []byte("/dev/sda1 / ext4 defaults 0 1\n"))
	wantState(t, h.provision(optest.Operation(1)), succeeded)
	h.kube.set("pods", "shop/till-1\n")
	h.options.Environment["FAKE_COMMAND"], h.options.Environment["FAKE_MODE"] = command, mode
	if err := os.Remove(filepath.Join(h.root, "calls")); err != nil {
		t.Fatal(err)
	}
	return h
}

// newBare is a host that is no node, with a Kubernetes API to join.
func newBare(t *testing.T, command, mode string) *host {
	t.Helper()
	h := newHost(t, command, mode)
	h.live()
	write(t, filepath.Join(h.root, "etc/fstab"), []byte("/dev/sda1 / ext4 defaults 0 1\n"))
	return h
}

// leftovers lists what of nodeadm's and of the node's is on a host that is none.
func (h *host) leftovers() []string {
	var left []string
	for _, path := range []string{
		"run/kubelet", "usr/bin/kubelet", "opt/nodeadm", "var/lib/kubelet", "etc/kubernetes", "etc/eks", "etc/aws",
		"etc/sysctl.d/99-nodeadm.conf", "etc/systemd/system/kubelet.service",
		"state/nodeconfig.yaml", "state/applied", "state/installed", "state/held",
	} {
		if _, err := os.Lstat(filepath.Join(h.root, path)); !errors.Is(err, os.ErrNotExist) {
			left = append(left, fmt.Sprintf("%s is left: %v", path, err))
		}
	}
	return left
}

// live gives the host a Kubernetes API that follows what nodeadm does.
func (h *host) live() {
	h.options.Runner = processes{}
	h.kube = &kube{root: h.root, version: "v1.32.3-eks-1234567"}
	_ = os.MkdirAll(h.kube.file("."), 0o755)
	h.options.Cluster = func(string) (Cluster, error) { return h.kube, nil }
	h.options.Node = func(ctx context.Context, _, name string) (nodeapi.Node, error) { return h.kube.Node(ctx, name) }
	h.options.Reach = func(context.Context, string) error { return h.kube.down() }
	h.options.FreeBytes = func(string) (uint64, error) { return 1 << 40, nil }
	h.options.Addresses = func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil }
}

// order is the n-th operation of a kind, which changes the node part.
func order(n uint64, kind agentv1.OperationKind, change func(*agentv1.NodeSpec)) *agentv1.Operation {
	op := optest.Operation(n)
	op.Kind = kind
	if kind == agentv1.OperationKind_OPERATION_KIND_LEAVE {
		op.Node, op.NodeDigest, op.NodeIp = nil, "", ""
		return op
	}
	if change != nil {
		change(op.Node)
		op.NodeDigest = strings.Repeat(fmt.Sprintf("%02x", n), 32)
	}
	return op
}

const (
	provisionKind   = agentv1.OperationKind_OPERATION_KIND_PROVISION
	repaveKind      = agentv1.OperationKind_OPERATION_KIND_REPAVE
	reconfigureKind = agentv1.OperationKind_OPERATION_KIND_RECONFIGURE
	leaveKind       = agentv1.OperationKind_OPERATION_KIND_LEAVE
	aborted         = agentv1.OperationState_OPERATION_STATE_ABORTED
)

func newer(spec *agentv1.NodeSpec)   { spec.KubernetesVersion = "1.32.3" }
func older(spec *agentv1.NodeSpec)   { spec.KubernetesVersion = "1.30.4" }
func maxPods(spec *agentv1.NodeSpec) { spec.KubeletConfigJson = []byte(`{"maxPods": 7}`) }
func withSSM(spec *agentv1.NodeSpec) {
	spec.Access = &agentv1.AccessManagement{Method: &agentv1.AccessManagement_Ssm{Ssm: &agentv1.SSMAccess{
		ActivationId: "01234567-89ab-cdef-0123-456789abcdef", ActivationCode: "sekrit-sekrit-sekrit-1"}}}
}

// wantNode checks what the host is: the version that runs and is recorded, and who
// cordoned it.
func (h *host) wantNode(version, cordonedBy string) {
	h.t.Helper()
	for _, fault := range h.faults(version, cordonedBy) {
		h.t.Error(fault)
	}
}

// faults lists in what a host is not a node of this version.
func (h *host) faults(version, cordonedBy string) []string {
	var faults []string
	node, err := h.kube.Node(h.t.Context(), optest.HostID)
	if err != nil || !node.Ready || !sameVersion(version, node.KubeletVersion) {
		faults = append(faults, fmt.Sprintf("node = %+v, %v; want Ready on %s", node, err, version))
	}
	state, found, err := applied.ReadState(h.options.Dir)
	if err != nil || !found || state.KubernetesVersion != version || state.Node.GetKubernetesVersion() != version {
		faults = append(faults, fmt.Sprintf("recorded = %+v, %v, %v; want %s", state, found, err, version))
	}
	if by := h.kube.cordoned(); by != cordonedBy {
		faults = append(faults, fmt.Sprintf("cordoned by %q, want %q", by, cordonedBy))
	}
	if _, err := nodeadm.ReadTracker(h.root); err != nil {
		faults = append(faults, err.Error())
	}
	for _, name := range []string{"nodeconfig.yaml", heldFile} {
		if _, err := os.Stat(filepath.Join(h.options.Dir, name)); !errors.Is(err, os.ErrNotExist) {
			faults = append(faults, fmt.Sprintf("%s is left: %v", name, err))
		}
	}
	return faults
}

// onUpgraded calls back when the API first tells of the version 1.32.3.
func (h *host) onUpgraded(do func()) { h.onVersion("1.32.3", do) }

// onVersion calls back when the API first tells of a version.
func (h *host) onVersion(version string, do func()) {
	called := false
	h.options.Node = func(ctx context.Context, _, name string) (nodeapi.Node, error) {
		node, err := h.kube.Node(ctx, name)
		if !called && sameVersion(version, node.KubeletVersion) {
			called = true
			do()
		}
		return node, err
	}
}

// wantCalls checks the commands of nodeadm, each by its begin.
func (h *host) wantCalls(begins ...string) {
	h.t.Helper()
	calls := h.calls()
	same := len(calls) == len(begins)
	for i := 0; same && i < len(calls); i++ {
		same = strings.HasPrefix(calls[i], begins[i])
	}
	if !same {
		h.t.Errorf("nodeadm ran %q, want %q", calls, begins)
	}
}
