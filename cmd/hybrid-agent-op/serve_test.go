package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	lab "hybridagent/test/fakeaws/artifacts"
)

// site is a host with a running hybrid-agent-op, below a temporary directory.
type site struct {
	t      *testing.T
	dir    string
	config string
	ca     *optest.Authority
	client *operation.Client
	stop   func() error
}

// newSite writes a configuration whose nodeadm is the double of package
// provision and whose Kubernetes API calls the node Ready.
func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "op") // a short path: socket addresses are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	script, err := os.ReadFile("../../agent/operation/lifecycle/testdata/nodeadm.sh")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "nodeadm"), script, 0o755)
	write(t, filepath.Join(dir, "token"), []byte("secret-token"), 0o600)
	api := httptest.NewServer(http.HandlerFunc(serveNode))
	t.Cleanup(api.Close)
	serveArtifacts(t, filepath.Join(dir, "lab"))
	s := &site{t: t, dir: dir, config: filepath.Join(dir, "config.yaml"), ca: optest.NewAuthority(t)}
	content := fmt.Sprintf(`plane: {address: "plane.example:7443", caPin: %q}
enrollment: {tokenFile: %[2]s/token}
host: {name: %[3]s}
nodeadm: {path: %[2]s/nodeadm, manifest: "file://%[2]s/lab/manifest.yaml", environment: {FAKE_ROOT: %[2]s, FAKE_API: %[4]q}}
paths: {opState: %[2]s/state, opSocket: %[2]s/run/op.sock, root: %[2]s}
`, operation.PinOf(s.ca.Cert), dir, optest.HostID, api.URL)
	write(t, s.config, []byte(content), 0o644)
	s.client = operation.NewClient(filepath.Join(dir, "run/op.sock"))
	return s
}

// serveArtifacts serves what nodeadm fetches, and writes the manifest that names it.
func serveArtifacts(t *testing.T, dir string) {
	t.Helper()
	server := httptest.NewServer(http.StripPrefix("/artifacts", http.FileServer(http.Dir(filepath.Join(dir, "artifacts")))))
	t.Cleanup(server.Close)
	plan := lab.Plan{Out: dir, BaseURL: server.URL + "/artifacts", Versions: []string{"1.31.5"}, Region: "us-west-2"}
	if err := lab.Prepare(plan); err != nil {
		t.Fatal(err)
	}
}

func serveNode(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/v1/nodes/"+optest.HostID {
		http.NotFound(w, r)
		return
	}
	_, _ = fmt.Fprintf(w, `{"metadata": {"name": %q}, "status": {
		"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok"}],
		"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1.31.5"}}}`, optest.HostID)
}

func write(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
}

// start runs serve in the background and waits until the door answers.
func (s *site) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, serveFlags{config: s.config, runner: "direct", daemonUser: "12345"}) }()
	s.stop = func() error {
		cancel()
		return <-done
	}
	s.t.Cleanup(cancel)
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := s.client.ReadNodeState(ctx)
		if err == nil {
			return
		}
		select {
		case err := <-done:
			s.t.Fatalf("serve ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the door does not answer: %v", err)
		}
	}
}

func (s *site) installCertificate() {
	s.t.Helper()
	csr, err := s.client.NodeKeyCSR(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.client.InstallNodeCertificate(s.t.Context(), s.ca.NodeCertificate(s.t, csr, optest.HostID)); err != nil {
		s.t.Fatal(err)
	}
}

func TestServeProvisions(t *testing.T) {
	s := newSite(t)
	s.start()
	s.installCertificate()
	if err := s.client.EraseToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "token")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the token is still there: %v", err)
	}
	env := s.ca.Sign(t, optest.Operation(7))
	var steps []string
	end, err := s.client.Submit(t.Context(), env, func(p *agentv1.OperationProgress) { steps = append(steps, p.GetStep()) })
	if err != nil || end.GetState() != agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		t.Fatalf("Submit = %v, %v", end, err)
	}
	state, err := s.client.ReadNodeState(t.Context())
	if err != nil || !state.GetNodeReady() || state.GetAppliedNodeDigest() != optest.Operation(7).GetNodeDigest() ||
		state.GetRunner() != "direct" || !state.GetCertificateInstalled() || state.GetInternalIp() != "127.0.0.1" {
		t.Errorf("node state = %v, %v", state, err)
	}
	if err := s.stop(); err != nil {
		t.Errorf("serve = %v", err)
	}

	// The next process knows what the last one did.
	s.start()
	again, err := s.client.Submit(t.Context(), env, nil)
	if err != nil || again.GetState() != end.GetState() || again.GetOperationId() != end.GetOperationId() {
		t.Errorf("submitted again: %v, %v", again, err)
	}
	if _, err := s.client.Submit(t.Context(), s.ca.Sign(t, optest.Operation(6)), nil); !refused(err, agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE) {
		t.Errorf("an older operation: %v", err)
	}
	s.showJSON()
	if err := s.stop(); err != nil {
		t.Errorf("serve = %v", err)
	}
}

// TestLeftConfigIsRemoved: a power cut may bring back the NodeConfig, which may hold
// a secret, after the operation that removed it has ended.
func TestLeftConfigIsRemoved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path := filepath.Join(s.dir, "state", "nodeconfig.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, []byte("activationCode: secret"), 0o600)
	s.start()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the NodeConfig: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Errorf("serve = %v", err)
	}
}

func (s *site) showJSON() {
	s.t.Helper()
	var out strings.Builder
	root := newRoot()
	root.SetArgs([]string{"show", "--config", s.config, "-o", "json"})
	root.SetOut(&out)
	if err := root.Execute(); err != nil {
		s.t.Fatal(err)
	}
	var shown struct {
		State   string `json:"state"`
		Records []any  `json:"records"`
	}
	if err := json.Unmarshal([]byte(out.String()), &shown); err != nil || shown.State != "succeeded" || len(shown.Records) < 10 {
		s.t.Errorf("show = %s, %v", out.String(), err)
	}
}

func TestServeStateIsForTheDaemonToRead(t *testing.T) {
	s := newSite(t)
	s.start()
	for path, mode := range map[string]os.FileMode{"state": 0o750, "state/host-id": 0o640, "state/operations": 0o700, "run/op.sock": 0o600} {
		info, err := os.Stat(filepath.Join(s.dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), mode)
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

func TestServeRefusesToStart(t *testing.T) {
	t.Run("second on the same state", func(t *testing.T) {
		s := newSite(t)
		s.start()
		err := serve(t.Context(), serveFlags{config: s.config, runner: "direct", daemonUser: "12345"})
		if err == nil || !strings.Contains(err.Error(), "uses it") {
			t.Errorf("a second serve = %v", err)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("configuration that others may write", func(t *testing.T) {
		s := newSite(t)
		if err := os.Chmod(s.config, 0o666); err != nil {
			t.Fatal(err)
		}
		err := serve(t.Context(), serveFlags{config: s.config, runner: "direct"})
		if err == nil || !strings.Contains(err.Error(), "others than root may write it") {
			t.Errorf("serve = %v", err)
		}
	})
	t.Run("unknown runner", func(t *testing.T) {
		var usage usageError
		if err := serve(t.Context(), serveFlags{runner: "docker"}); !errors.As(err, &usage) {
			t.Errorf("serve = %v", err)
		}
	})
}

// TestIdleEnd checks that a service with a passed socket ends when nothing is
// asked, and that its socket stays for systemd.
func TestIdleEnd(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(s.dir, "passed.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	file, err := listener.File()
	if err != nil {
		t.Fatal(err)
	}
	passed, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	p := buildParts(t, s, map[string][]net.Listener{"hybrid-agent-op.socket": {passed}})
	if err := p.run(t.Context(), 50*time.Millisecond); err != nil {
		t.Errorf("run = %v", err)
	}
	p.close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the socket is gone: %v", err)
	}
}

func refused(err error, reason agentv1.DoorRefusalReason) bool {
	var refusal *operation.Refusal
	return errors.As(err, &refusal) && refusal.Reason == reason
}
