package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/config"
	"hybridagent/agent/hostid"
	"hybridagent/agent/internal/planetest"
	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

const testHost = "edge-1"

// machine is a host with its folders; start runs the daemon on it.
type machine struct {
	t    *testing.T
	text string // of the configuration
	cfg  config.Config
	door *fakeDoor
	stop func()
}

func newMachine(t *testing.T, plane *planetest.Plane) *machine {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`
plane: {address: %q, caPin: %q}
enrollment: {tokenFile: %s/token}
metrics: {listen: ""}
network: {resyncInterval: 0}
paths: {state: %s/state, opState: %s, socket: %s/agent.sock}
`, plane.Address(), plane.Pin(), dir, dir, dir, dir)
	cfg, err := config.Parse("config.yaml", strings.NewReader(text))
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(dir, "token"), []byte("good\n"), 0o600))
	ok(t, hostid.Write(filepath.Join(dir, hostid.FileName), hostid.ID{ID: testHost, Source: hostid.SourceName}))
	return &machine{t: t, text: text, cfg: cfg, door: &fakeDoor{runner: "direct"}}
}

// start runs the daemon until stop or the end of the test.
func (m *machine) start() {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{Config: m.cfg, Version: "v1.2.3", Log: zaptest.NewLogger(m.t), Door: m.door})
	}()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			m.t.Errorf("the daemon ended with %v", err)
		}
	})
	m.t.Cleanup(m.stop)
}

// status asks over the local socket, as the command does; nil while it is not up.
func (m *machine) status() *localv1.Status {
	conn, err := grpc.NewClient("unix:"+m.cfg.Paths.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	ok(m.t, err)
	defer func() { _ = conn.Close() }()
	answer, err := localv1.NewLocalServiceClient(conn).GetStatus(m.t.Context(), &localv1.GetStatusRequest{})
	if err != nil {
		return nil
	}
	return answer.GetStatus()
}

// await polls the status until it is as wanted, and returns it.
func (m *machine) await(what string, as func(*localv1.Status) bool) *localv1.Status {
	m.t.Helper()
	var last *localv1.Status
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); pause(m.t.Context(), 5*time.Millisecond) {
		if last = m.status(); last != nil && as(last) {
			return last
		}
	}
	m.t.Fatalf("%s did not come within 15 s; the status is:\n%s", what, last)
	return nil
}

// awaitCondition waits for a condition with status and reason, and returns its
// message.
func (m *machine) awaitCondition(kind, status, reason string) string {
	m.t.Helper()
	message := ""
	m.await(kind+"="+status+"/"+reason, func(s *localv1.Status) bool {
		c := conditionOf(s, kind)
		message = c.GetMessage()
		return strings.HasSuffix(c.GetStatus().String(), "_"+strings.ToUpper(status)) && c.GetReason() == reason
	})
	return message
}

func conditionOf(s *localv1.Status, kind string) *agentv1.Condition {
	return conditionIn(s.GetConditions(), kind)
}

func conditionIn(all []*agentv1.Condition, kind string) *agentv1.Condition {
	i := slices.IndexFunc(all, func(c *agentv1.Condition) bool { return c.GetType() == kind })
	if i < 0 {
		return nil
	}
	return all[i]
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not hold %q", text, part)
		}
	}
}

// shop is an assignment that fits the site; change may spoil it.
func shop(change ...func(*agentv1.Assignment)) *agentv1.Assignment {
	nic := &agentv1.NICSelector{}
	a := &agentv1.Assignment{
		HostId: testHost, Pool: "shop",
		Network: &agentv1.NetworkSpec{
			VpcCidrs: []string{"10.100.0.0/16"}, VpnServers: []string{"10.200.0.2"}, RemoteNodeCidrs: []string{"10.200.0.0/16"}, Nic: nic,
		},
		Probes: &agentv1.ProbeSpec{}, Time: &agentv1.TimeSpec{},
		Node: &agentv1.NodeSpec{
			ClusterName: "lab", Region: "us-west-2", KubernetesVersion: "1.31.5",
			VpcCidrs: []string{"10.100.0.0/16"}, VpnServers: []string{"10.200.0.2"}, RemoteNodeCidrs: []string{"10.200.0.0/16"}, Nic: nic,
			Access: &agentv1.AccessManagement{Method: &agentv1.AccessManagement_IamRolesAnywhere{
				IamRolesAnywhere: &agentv1.RolesAnywhereAccess{NodeName: testHost},
			}},
		},
		NodeDigest: strings.Repeat("a", 64),
	}
	for _, c := range change {
		c(a)
	}
	return a
}

// fakeDoor is hybrid-agent-op in memory: it provisions in no time.
type fakeDoor struct {
	mu        sync.Mutex
	runner    string
	certified bool
	erased    bool
	last      *agentv1.OperationProgress
	op        *agentv1.Operation
	submits   int
	submitErr error
	fails     bool   // operations fail, and change nothing
	holds     bool   // the connection is lost before the end is told
	onSubmit  func() // called while an operation runs; nil: nothing
}

func (d *fakeDoor) Submit(ctx context.Context, env *agentv1.SignedOperation, onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.submits++
	if d.submitErr != nil {
		return nil, d.submitErr
	}
	op := &agentv1.Operation{}
	if err := proto.Unmarshal(env.GetOperation(), op); err != nil {
		return nil, err
	}
	onProgress(&agentv1.OperationProgress{OperationId: op.GetId(), Kind: op.GetKind(), State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: "nodeadm-init", Percent: 50})
	if d.onSubmit != nil {
		d.onSubmit()
	}
	d.last = &agentv1.OperationProgress{
		OperationId: op.GetId(), Kind: op.GetKind(), State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED, Percent: 100, EndedAt: timestamppb.Now(),
	}
	switch {
	case d.fails:
		d.last.State, d.last.Message = agentv1.OperationState_OPERATION_STATE_FAILED, "broken on purpose"
	case op.GetKind() == agentv1.OperationKind_OPERATION_KIND_LEAVE:
		d.op = nil
	default:
		d.op = op
	}
	if d.holds {
		<-ctx.Done()
		return nil, operation.ErrInterrupted
	}
	onProgress(d.last)
	return d.last, nil
}

// lasting sets what root says of the operation that runs or ran last, and returns what
// it said before.
func (d *fakeDoor) lasting(p *agentv1.OperationProgress) *agentv1.OperationProgress {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.last
	d.last = p
	return before
}

func (d *fakeDoor) failing(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = on
}

func (d *fakeDoor) holding(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holds = on
}

func (d *fakeDoor) Follow(_ context.Context, _ string, onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		return nil, operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION, "no operation")
	}
	onProgress(d.last)
	return d.last, nil
}

func (d *fakeDoor) NodeKeyCSR(context.Context) ([]byte, error) { return []byte("csr"), nil }

func (d *fakeDoor) InstallNodeCertificate(context.Context, []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.certified = true
	return nil
}

func (d *fakeDoor) EraseToken(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erased = true
	return nil
}

func (d *fakeDoor) ReadNodeState(context.Context) (*agentv1.NodeState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	state := &agentv1.NodeState{Runner: d.runner, CertificateInstalled: d.certified}
	if d.certified {
		state.CertificateExpiresAt = timestamppb.New(time.Now().Add(365 * 24 * time.Hour))
	}
	if d.op != nil {
		state.AppliedNodeDigest, state.AppliedKubernetesVersion = d.op.GetNodeDigest(), "1.31.5"
		state.NodeReady, state.NodeName, state.KubeletVersion, state.InternalIp = true, testHost, "v1.31.5", d.op.GetNodeIp()
	}
	return state, nil
}

func (d *fakeDoor) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.submits
}

func (d *fakeDoor) isErased() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.erased
}
