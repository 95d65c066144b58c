package lifecycle

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/nodekey"
	"hybridagent/agent/operation/optest"
	"hybridagent/agent/operation/runner"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(removalEnv); dir != "" {
		if err := removeInNamespace(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// host is a host to be provisioned, in a temporary directory, with the double
// of nodeadm and a Kubernetes API that is all made up.
type host struct {
	t       *testing.T
	root    string
	options Options
	node    nodeapi.Node
	kube    *kube
	seam    journal.Seam
	// abort ends the operation under way.
	abort func()
}

func newHost(t *testing.T, command, mode string) *host {
	t.Helper()
	root := t.TempDir()
	script, err := os.ReadFile("testdata/nodeadm.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"state", "etc", "bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	// No test reaches a containerd of this machine.
	for name, content := range map[string]string{"nodeadm": string(script), "bin/ctr": "#!/bin/sh\nexit 1\n"} {
		write(t, filepath.Join(root, name), []byte(content))
		chmod(t, filepath.Join(root, name), 0o755)
	}
	h := openHost(t, root)
	installCertificate(t, h.options.Keys)
	direct, err := runner.NewDirect(zap.NewNop(), filepath.Join(root, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	h.options.Runner = direct
	h.options.Environment["FAKE_COMMAND"], h.options.Environment["FAKE_MODE"] = command, mode
	return h
}

// openHost is a host whose disk another process has left.
func openHost(t *testing.T, root string) *host {
	t.Helper()
	h := &host{t: t, root: root, node: nodeapi.Node{
		Name: optest.HostID, Ready: true, KubeletVersion: "v1.31.5-eks-abc", InternalIP: "127.0.0.1",
	}, seam: journal.Seam{Before: func(journal.Record) {}, After: func(journal.Record) {}}}
	h.options = Options{
		Dir: filepath.Join(root, "state"), Root: root, HostID: optest.HostID, NodeadmPath: filepath.Join(root, "nodeadm"),
		Environment: map[string]string{"FAKE_ROOT": root, "PATH": filepath.Join(root, "bin") + ":/usr/bin:/bin"},
		Runner:      processes{}, Keys: nodekey.New(root, optest.HostID, time.Now),
		Addresses:    func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil },
		Node:         func(context.Context, string, string) (nodeapi.Node, error) { return h.node, nil },
		Now:          time.Now,
		PollInterval: time.Millisecond, StableFor: 5 * time.Millisecond,
		Log: zaptest.NewLogger(t),
	}
	return h
}

func installCertificate(t *testing.T, keys *nodekey.Keeper) {
	t.Helper()
	csr, err := keys.CSR()
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Install(optest.NewAuthority(t).NodeCertificate(t, csr, optest.HostID)); err != nil {
		t.Fatal(err)
	}
}

// engine starts an engine over the host's journal, as a new process would.
func (h *host) engine() *engine.Engine {
	h.t.Helper()
	store, err := journal.Open(filepath.Join(h.options.Dir, "operations"))
	if err != nil {
		h.t.Fatal(err)
	}
	store.SetSeam(h.seam)
	return engine.New(zaptest.NewLogger(h.t), store, engine.Options{
		RetryPause: time.Millisecond,
		Stop:       h.options.Runner.Stop,
		Plan: func(ctx context.Context, op *agentv1.Operation, kept []byte) (engine.Plan, error) {
			return Plan(ctx, h.options, op, kept)
		},
	})
}

// provision runs an operation to its end.
func (h *host) provision(op *agentv1.Operation) *agentv1.OperationProgress {
	h.t.Helper()
	e := h.engine()
	defer e.Close()
	signed := optest.NewAuthority(h.t).Sign(h.t, op)
	if err := e.Submit(op, signed.GetOperation()); err != nil {
		h.t.Fatalf("Submit: %v", err)
	}
	return h.follow(e)
}

// follow waits for the end of the operation that runs or ran last.
func (h *host) follow(e *engine.Engine) *agentv1.OperationProgress {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	var last *agentv1.OperationProgress
	err := e.Follow(ctx, "", func(p *agentv1.OperationProgress) error { last = p; return nil })
	if err != nil {
		h.t.Fatalf("Follow: %v", err)
	}
	if !operation.Ended(last.GetState()) {
		h.t.Fatalf("the operation has not ended: %v", last)
	}
	return last
}

// calls lists the runs of nodeadm.
func (h *host) calls() []string {
	h.t.Helper()
	content, err := os.ReadFile(filepath.Join(h.root, "calls"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func wantState(t *testing.T, got *agentv1.OperationProgress, want agentv1.OperationState, fragments ...string) {
	t.Helper()
	if got.GetState() != want {
		t.Errorf("state = %v, want %v (step %s: %s)", got.GetState(), want, got.GetStep(), got.GetMessage())
	}
	for _, fragment := range fragments {
		if !strings.Contains(got.GetMessage(), fragment) {
			t.Errorf("message %q lacks %q", got.GetMessage(), fragment)
		}
	}
}
