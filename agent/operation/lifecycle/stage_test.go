package lifecycle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/optest"
	"hybridagent/nodeadm/drain"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// shelf is a double of staging: what was staged by version, and how it fails.
type shelf struct {
	h     *host
	fail  map[string]error
	calls []string
	// lost is what is not there any more when it is opened, by version.
	lost map[string]error
}

func (s *shelf) Estimate(_ context.Context, spec *agentv1.NodeSpec) (uint64, bool, error) {
	return 1000, spec.GetKubernetesVersion() == "1.31.5", nil
}

func (s *shelf) Stage(_ context.Context, spec *agentv1.NodeSpec, keep []*agentv1.NodeSpec, _ func(string)) error {
	s.calls = append(s.calls, "stage "+spec.GetKubernetesVersion())
	if _, node, _ := applied.ReadState(s.h.options.Dir); s.h.kube.cordoned() != "" || node && len(keep) != 2 {
		s.h.t.Errorf("staged while cordoned by %q, keeping %d", s.h.kube.cordoned(), len(keep))
	}
	return s.fail[spec.GetKubernetesVersion()]
}

func (s *shelf) Open(_ context.Context, spec *agentv1.NodeSpec) (Served, error) {
	s.calls = append(s.calls, "open "+spec.GetKubernetesVersion())
	return Served{Manifest: "file:///staged/" + spec.GetKubernetesVersion(), Nodeadm: s.h.options.NodeadmPath,
		Stop: func() { s.calls = append(s.calls, "stop") }, Unstaged: s.lost[spec.GetKubernetesVersion()]}, nil
}

func (s *shelf) Forget() error {
	s.calls = append(s.calls, "forget")
	return nil
}

func (h *host) shelve() *shelf {
	s := &shelf{h: h, fail: map[string]error{}}
	h.options.Artifacts = s
	return s
}

// TestArtifactsAreStagedForBothWays: before the node is cordoned, for the wanted
// version and for the one to return to; nodeadm is served them.
func TestArtifactsAreStagedForBothWays(t *testing.T) {
	t.Parallel()
	h := newNode(t, "upgrade", "describe")
	s := h.shelve()
	wantState(t, h.provision(order(2, repaveKind, newer)), failed)
	h.wantNode("1.31.5", "")
	if !slices.Equal(s.calls[:2], []string{"stage 1.32.3", "stage 1.31.5"}) {
		t.Errorf("calls = %q", s.calls)
	}
	for _, want := range []string{"-m file:///staged/1.32.3", "-m file:///staged/1.31.5"} {
		if !slices.ContainsFunc(h.calls(), func(call string) bool { return strings.Contains(call, want) }) {
			t.Errorf("nodeadm ran %q, want %q", h.calls(), want)
		}
	}
	opened, stopped := 0, 0
	for _, call := range s.calls {
		if strings.HasPrefix(call, "open") {
			opened++
		}
		if call == "stop" {
			stopped++
		}
	}
	if opened != stopped {
		t.Errorf("served %d times, stopped %d times", opened, stopped)
	}
}

// TestStagedArtifactsAreLost: what was staged is not there any more when it is
// needed. nodeadm is not sent to the network for the new version; for the former one
// it is, as the last resort.
func TestStagedArtifactsAreLost(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	s := h.shelve()
	s.lost = map[string]error{"1.32.3": errors.New("kubelet is missing or damaged")}
	wantState(t, h.provision(order(2, repaveKind, newer)), failed, "what was fetched for it is there no more", "kubelet is missing or damaged", "repave again")
	h.wantNode("1.31.5", "")
	if slices.ContainsFunc(h.calls(), func(call string) bool { return strings.Contains(call, "1.32.3") }) {
		t.Errorf("nodeadm ran %q", h.calls())
	}
}

// TestUnreachableArtifactServer: neither a version that cannot be had nor one that
// there is no way back from is begun.
func TestUnreachableArtifactServer(t *testing.T) {
	for version, fragments := range map[string][]string{
		"1.32.3": {"cannot repave: dial tcp: connection refused"},
		"1.31.5": {"no way back could be had", "connection refused", "force the operation"},
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			h.shelve().fail[version] = errors.New("dial tcp: connection refused")
			wantState(t, h.provision(order(2, repaveKind, newer)), failed, fragments...)
			h.wantNode("1.31.5", "")
			h.wantCalls()
			if h.kube.cordons > 0 {
				t.Error("the node was cordoned")
			}
		})
	}
}

// TestForecast tells path, reasons, steps, bytes and downtime, and changes nothing.
func TestForecast(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	h.shelve()
	op := order(2, repaveKind, newer)
	request := &agentv1.ForecastRequest{Kind: repaveKind, Node: op.GetNode(), NodeDigest: op.GetNodeDigest(), NodeIp: op.GetNodeIp()}
	got, err := Forecast(t.Context(), h.options, request)
	if err != nil || got.GetPath() != "upgrade" || got.GetFetchBytes() != 2000 || !got.GetUnknownFetch() || got.GetRefusal() != "" || got.GetNodeDigest() != op.GetNodeDigest() {
		t.Fatalf("Forecast = %v, %v", got, err)
	}
	if down, whole := got.GetDowntime().AsDuration(), got.GetDuration().AsDuration(); down <= 0 || down >= whole || len(got.GetReasons()) == 0 {
		t.Errorf("down %s of %s, reasons %q", down, whole, got.GetReasons())
	}
	var names []string
	for _, step := range got.GetSteps() {
		names = append(names, step.GetName())
	}
	if i, j := slices.Index(names, "stage"), slices.Index(names, "cordon"); i < 0 || j < i {
		t.Errorf("steps = %q", names)
	}
	h.wantCalls()
	h.wantNode("1.31.5", "")

	h.kube.blocked = kept(drain.Budget)
	if got, err = Forecast(t.Context(), h.options, request); err != nil || got.GetRefusal() != "" || !strings.Contains(strings.Join(got.GetReasons(), "; "), "it would wait at first: cannot repave: the node cannot be drained") {
		t.Errorf("Forecast of a drain that has to wait = %v, %v", got, err)
	}
	h.kube.blocked = kept(drain.Forbidden)
	if got, err = Forecast(t.Context(), h.options, request); err != nil || !strings.Contains(got.GetRefusal(), "PodDisruptionBudget till") {
		t.Errorf("Forecast of a blocked drain = %v, %v", got, err)
	}
	h.kube.version = "v1.31.0"
	if got, err = Forecast(t.Context(), h.options, request); err != nil || !strings.Contains(got.GetRefusal(), "1.31") || got.GetPath() != "" {
		t.Errorf("Forecast outside the skew = %v, %v", got, err)
	}
	leaves, err := Forecast(t.Context(), h.options, &agentv1.ForecastRequest{Kind: leaveKind})
	if err != nil || leaves.GetPath() != "uninstall" {
		t.Errorf("Forecast of leave = %v, %v", leaves, err)
	}
}

// TestFstab: nodeadm drops swap in place; what it was is kept and what went is said.
// A missing file, which init takes for an error, is made.
func TestFstab(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.live()
	var said []string
	h.options.Line = func(_, text string) { said = append(said, text) }
	before := "/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0\n"
	write(t, filepath.Join(h.root, "etc/fstab"), []byte(before))
	wantState(t, h.provision(optest.Operation(1)), succeeded)
	if got := string(read(t, filepath.Join(h.options.Dir, fstabBackup))); got != before {
		t.Errorf("backup = %q", got)
	}
	if !slices.Contains(said, "/etc/fstab: - /dev/sda2 none swap sw 0 0") {
		t.Errorf("said %q", said)
	}
	if slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, "sda1") }) {
		t.Errorf("said %q of a line that stayed", said)
	}
	bare := newHost(t, "", "")
	bare.live()
	wantState(t, bare.provision(optest.Operation(1)), succeeded)
	if info, err := os.Stat(filepath.Join(bare.root, "etc/fstab")); err != nil || info.Size() != 0 {
		t.Errorf("fstab = %v, %v", info, err)
	}
}

// TestLocalRepair: local root's repave names no node part and repeats what is in
// force.
func TestLocalRepair(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	remove(t, filepath.Join(h.root, "etc/kubernetes/kubelet/config.json"))
	write(t, filepath.Join(h.root, "etc/kubernetes/kubelet/config.json"), nil)
	e := h.engine()
	defer e.Close()
	if err := e.SubmitLocal(&agentv1.Operation{Id: strings.Repeat("a", 26), HostId: optest.HostID, Kind: repaveKind}); err != nil {
		t.Fatal(err)
	}
	wantState(t, h.follow(e), succeeded)
	h.wantNode("1.31.5", "")
	h.wantCalls("config check", "init ")
}

// TestProvisionAfterAnotherProvider: nodeadm would go on with what belongs to the
// other one.
func TestProvisionAfterAnotherProvider(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.live()
	op := optest.Operation(1)
	withSSM(op.Node)
	wantState(t, h.provision(op), succeeded)
	remove(t, filepath.Join(h.options.Dir, "applied"))
	remove(t, filepath.Join(h.options.Dir, "applied.copy"))
	wantState(t, h.provision(optest.Operation(2)), failed, "credential provider SSM → IAM Roles Anywhere", "operation leave")
	// Half of a provision: it is no node yet.
	remove(t, filepath.Join(h.root, "var/lib/kubelet/kubeconfig"))
	wantState(t, h.provision(optest.Operation(3)), failed, "nodeadm installed this host for ssm", "leave")
}
