package lifecycle

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/optest"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	succeeded = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
	failed    = agentv1.OperationState_OPERATION_STATE_FAILED
)

func TestProvision(t *testing.T) {
	h := newHost(t, "", "")
	wantState(t, h.provision(optest.Operation(1)), succeeded)
	want := []string{
		"install 1.31.5 -p iam-ra -s none -r us-west-2 -t 9m45s --private-mode",
		"config check -c file://" + h.options.Dir + "/nodeconfig.yaml",
		"init -c file://" + h.options.Dir + "/nodeconfig.yaml --skip none --private-mode",
	}
	if got := h.calls(); !slices.Equal(got, want) {
		t.Errorf("calls = %q, want %q", got, want)
	}
	state, found, err := applied.ReadState(h.options.Dir)
	if err != nil || !found || state.NodeDigest != optest.Operation(1).GetNodeDigest() || state.NodeName != optest.HostID {
		t.Errorf("applied state = %+v, %v, %v", state, found, err)
	}
	if _, err := os.Stat(filepath.Join(h.options.Dir, "nodeconfig.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the NodeConfig is left on disk: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(h.root, "runs", "*")); len(left) > 0 {
		t.Errorf("output is left on disk: %v", left)
	}
}

func TestProvisionAgainSkipsInstall(t *testing.T) {
	h := newHost(t, "", "")
	h.provision(optest.Operation(1))
	wantState(t, h.provision(optest.Operation(2)), succeeded)
	installs := 0
	for _, call := range h.calls() {
		if strings.HasPrefix(call, "install ") {
			installs++
		}
	}
	if installs != 1 {
		t.Errorf("nodeadm install ran %d times, want once", installs)
	}
}

func TestProvisionRefusesAnotherNodePart(t *testing.T) {
	h := newHost(t, "", "")
	h.provision(optest.Operation(1))
	op := optest.Operation(2)
	op.NodeDigest = strings.Repeat("cd", 32)
	wantState(t, h.provision(op), failed, "takes a repave")
}

// TestProvisionStagesFirst: what nodeadm will fetch is on the host before it runs,
// and a disk that is too small is told before anything is changed.
func TestProvisionStagesFirst(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.live()
	s := h.shelve()
	wantState(t, h.provision(optest.Operation(1)), succeeded)
	if len(s.calls) == 0 || s.calls[0] != "stage 1.31.5" {
		t.Errorf("calls = %q", s.calls)
	}
	if calls := h.calls(); !strings.Contains(calls[0], "-m file:///staged/1.31.5") {
		t.Errorf("nodeadm ran %q", calls)
	}
	for name, prepare := range map[string]func(*host){
		"dial tcp: connection refused":                func(h *host) { h.shelve().fail["1.31.5"] = errors.New("dial tcp: connection refused") },
		"419430400 bytes must be free on the disk of": func(h *host) { h.options.FreeBytes = func(string) (uint64, error) { return 1 << 20 * 100, nil } },
	} {
		h := newHost(t, "", "")
		h.live()
		prepare(h)
		wantState(t, h.provision(optest.Operation(1)), failed, "cannot provision: ", name)
		h.wantCalls()
	}
}

// TestBadNodeadm is what an operator sees of each way in which nodeadm fails.
func TestBadNodeadm(t *testing.T) {
	for _, c := range []struct {
		command, mode string
		runs          int
		fragments     []string
	}{
		{"install", "fail", nodeadmAttempts, []string{"nodeadm install failed", "connection refused", "check that the host reaches the EKS service endpoint"}},
		{"init", "permanent", 1, []string{"nodeadm init failed", "remote network CIDR", "choose a NIC"}},
		{"install", "noop", nodeadmAttempts, []string{"exited 0 having done nothing", "no tracker"}},
		{"init", "noop", nodeadmAttempts, []string{"exited 0 having done nothing", "did not write /var/lib/kubelet/kubeconfig"}},
		{"config", "usage", 1, []string{"did not understand its arguments", "unknown flag: --bogus"}},
		{"init", "panic", nodeadmAttempts, []string{"crashed", "delete the tracker"}},
	} {
		t.Run(c.command+" "+c.mode, func(t *testing.T) {
			h := newHost(t, c.command, c.mode)
			wantState(t, h.provision(optest.Operation(1)), failed, c.fragments...)
			runs := 0
			for _, call := range h.calls() {
				if strings.HasPrefix(call, c.command+" ") {
					runs++
				}
			}
			if runs != c.runs {
				t.Errorf("nodeadm %s ran %d times, want %d", c.command, runs, c.runs)
			}
			if _, err := os.Stat(filepath.Join(h.options.Dir, "nodeconfig.yaml")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the NodeConfig is left on disk: %v", err)
			}
		})
	}
}

func TestPassingFailureIsTriedAgain(t *testing.T) {
	h := newHost(t, "init", "failonce")
	wantState(t, h.provision(optest.Operation(1)), succeeded)
}

// TestHangingNodeadm checks that the deadline ends nodeadm with children that
// left its process group and its environment.
func TestHangingNodeadm(t *testing.T) {
	h := newHost(t, "init", "hang")
	h.options.InitDeadline = 2 * time.Second
	op := optest.Operation(1)
	wantState(t, h.provision(op), failed, "did not end within", "was killed with all its children", "waiting for ever")
	for _, name := range []string{"grandchild", "scrubbed"} {
		content, err := os.ReadFile(filepath.Join(h.root, name))
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Errorf("%s %d lives on: %v", name, pid, err)
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	h := newHost(t, "install", "secret")
	var logged []string
	h.options.Line = func(_, text string) { logged = append(logged, text) }
	op := optest.Operation(1)
	op.Node.Access = &agentv1.AccessManagement{Method: &agentv1.AccessManagement_Ssm{Ssm: &agentv1.SSMAccess{
		ActivationId: "01234567-89ab-cdef-0123-456789abcdef", ActivationCode: "sekrit-sekrit-sekrit-1",
	}}}
	wantState(t, h.provision(op), succeeded)
	if !strings.Contains(strings.Join(logged, "\n"), "-activation-code [redacted]") {
		t.Errorf("log lines = %q", logged)
	}
	if err := filepath.Walk(h.options.Dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), "sekrit") {
			t.Errorf("%s holds the activation code after the end", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if state, _, _ := applied.ReadState(h.options.Dir); state.NodeName != "mi-0123456789abcdef0" {
		t.Errorf("node name = %q, want the instance ID", state.NodeName)
	}
}

func TestPreflight(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*host, *agentv1.Operation)
		fragment string
	}{
		{"nodeadm missing", func(h *host, _ *agentv1.Operation) { h.options.NodeadmPath += "-missing" }, "nodeadm is not installed at"},
		{"nodeadm writable by others", func(h *host, _ *agentv1.Operation) { chmod(h.t, h.options.NodeadmPath, 0o777) }, "others than root may write it"},
		{"nodeadm not executable", func(h *host, _ *agentv1.Operation) { chmod(h.t, h.options.NodeadmPath, 0o644) }, "chmod 0755"},
		{"node IP outside", func(_ *host, op *agentv1.Operation) { op.Node.RemoteNodeCidrs = []string{"10.0.0.0/8"} }, "in none of the remote node CIDRs"},
		{"another node's name", func(_ *host, op *agentv1.Operation) {
			op.Node.GetAccess().GetIamRolesAnywhere().NodeName = "edge-test-2"
		}, "is not this host's ID"},
		{"no certificate", func(h *host, _ *agentv1.Operation) { remove(h.t, filepath.Join(h.root, "etc/iam/pki/server.pem")) }, "no node certificate is installed yet"},
		{"bad kubelet flag", func(_ *host, op *agentv1.Operation) { op.Node.KubeletFlags = []string{"--hostname-override=x"} }, "nodeadm refuses it"},
		{"kubelet configuration", func(_ *host, op *agentv1.Operation) {
			op.Node.KubeletConfigJson = []byte(`{"maxPods":"abc","noSuchFieldAtAll":1}`)
		}, `maxPods is "abc", not a whole number`},
		{"no access", func(_ *host, op *agentv1.Operation) { op.Node.Access = nil }, "no access management is set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, "", "")
			op := optest.Operation(1)
			c.change(h, op)
			wantState(t, h.provision(op), failed, c.fragment)
			if calls := h.calls(); len(calls) > 0 {
				t.Errorf("nodeadm was run all the same: %q", calls)
			}
		})
	}
}

func TestNodeNotReady(t *testing.T) {
	for _, c := range []struct {
		name     string
		node     nodeapi.Node
		err      error
		fragment string
	}{
		{"not ready", nodeapi.Node{InternalIP: "127.0.0.1", KubeletVersion: "v1.31.5", Reason: "NetworkPluginNotReady", Message: "no CNI"}, nil, "NetworkPluginNotReady: no CNI"},
		{"another address", nodeapi.Node{Ready: true, InternalIP: "192.0.2.1", KubeletVersion: "v1.31.5"}, nil, "kubelet does not use the selected NIC"},
		{"another version", nodeapi.Node{Ready: true, InternalIP: "127.0.0.1", KubeletVersion: "v1.31.50"}, nil, `version "v1.31.50"`},
		{"unreachable", nodeapi.Node{}, errors.New("connection refused"), "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, "", "")
			h.options.Node = func(context.Context, string, string) (nodeapi.Node, error) { return c.node, c.err }
			p := &job{Options: h.options, op: optest.Operation(1), spec: optest.NodeSpec()}
			want := target{optest.HostID, "1.31.5", "127.0.0.1"}
			if got := p.notReady(t.Context(), want, &pulse{}); !strings.Contains(got, c.fragment) {
				t.Errorf("notReady = %q, want %q in it", got, c.fragment)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestWaitsForTheRoute checks that nodeadm does not run before packets to the
// VPC take the way of the selected NIC.
func TestWaitsForTheRoute(t *testing.T) {
	h := newHost(t, "", "")
	looks := 0
	h.options.SourceToward = func(target netip.Addr) (netip.Addr, error) {
		looks++
		switch {
		case target.String() != "10.100.0.1":
			t.Errorf("asked for %s", target)
		case len(h.calls()) > 0:
			t.Errorf("nodeadm ran before: %q", h.calls())
		case looks == 1:
			return netip.Addr{}, errors.New("network is unreachable")
		case looks == 2:
			return netip.MustParseAddr("192.168.77.11"), nil
		}
		return netip.MustParseAddr("127.0.0.1"), nil
	}
	op := optest.Operation(1)
	op.Node.VpnServers = []string{"10.200.0.2"}
	wantState(t, h.provision(op), succeeded)
	if looks != 3 {
		t.Errorf("looked %d times", looks)
	}
	if source, err := SourceToward(netip.MustParseAddr("127.0.0.1")); err != nil || source.String() != "127.0.0.1" {
		t.Errorf("SourceToward = %s, %v", source, err)
	}
}
