package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/local"
	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// run executes one command line.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestUsageErrorsExitWith2(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"frobnicate"}, {"status", "--frobnicate"}, {"status", "-o", "xml"}, {"nics", "-o", "xml"}, {"status", "extra"},
		{"run", "--config", filepath.Join(t.TempDir(), "none.yaml")},
	} {
		if code, _, stderr := run(t, args...); code != exitUsage || !strings.HasPrefix(stderr, "hybrid-agent: ") {
			t.Errorf("%v: exit %d, %q", args, code, stderr)
		}
	}
}

func TestHelpNamesExitCodes(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"run", "status", "nics", "operation show", "operation watch", "operation plan", "operation abort", "operation repair", "operation leave",
	} {
		code, stdout, _ := run(t, append(strings.Fields(command), "--help")...)
		if code != 0 || !strings.Contains(strings.ReplaceAll(stdout, "\n", " "), "Exit codes:") {
			t.Errorf("%s: exit %d, %q", command, code, stdout)
		}
		for _, line := range strings.Split(stdout, "\n") {
			if len(line) > width {
				t.Errorf("%s: %d columns: %s", command, len(line), line)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if code, stdout, _ := run(t, "version"); code != 0 || !strings.HasPrefix(stdout, "hybrid-agent "+version) {
		t.Errorf("exit %d, %q", code, stdout)
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("plane: {address: \"plane.example:7443\", caPin: \"sha256:" + strings.Repeat("0a", 32) + "\"}\n")
	if code, stdout, _ := run(t, "config", "check", "--config", path); code != 0 || stdout != path+" is valid\n" {
		t.Errorf("exit %d, %q", code, stdout)
	}
	write("plane: {address: plane}\nhots: {}\n")
	code, _, stderr := run(t, "config", "check", "--config", path)
	if code != exitUnhealthy || !strings.Contains(stderr, path+":2:1") || !strings.Contains(stderr, `"hots"`) {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

func TestNoDaemon(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "none.sock")
	code, stdout, stderr := run(t, "status", "--socket", socket)
	if code != exitUnreachable || stdout != "" || !strings.Contains(stderr, socket) || !strings.Contains(stderr, "hybrid-agent.service") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	// The kernel answers where the daemon does not.
	code, stdout, stderr = run(t, "nics", "--socket", socket)
	if code != 0 || !strings.Contains(stdout, "is the loopback") || !strings.Contains(stderr, "without an assignment") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}

type source struct{ status *localv1.Status }

func (s source) Status() *localv1.Status { return s.status }
func (source) NICs() []*agentv1.NIC {
	return []*agentv1.NIC{
		{Name: "lan0", Mac: "02:00:00:00:00:01", Kind: "device", Addresses: []string{"10.200.0.11/24"}, Candidate: true, Selected: true,
			Reasons: []string{"VPN server 10.200.0.2 is on-link", "10.200.0.11 is inside the remote node CIDR 10.200.0.0/16"}, Altnames: []string{"enp1s0"}},
		{Name: "docker0", Kind: "bridge", Addresses: []string{"172.17.0.1/16"}, Reasons: []string{"is container-owned"}},
	}
}

// WatchOperation knows the operation of the status alone.
func (s source) WatchOperation(_ context.Context, id string, send func(*agentv1.OperationProgress) error) error {
	if last := s.status.GetOperation(); last != nil && (id == "" || id == last.GetOperationId()) {
		return send(last)
	}
	return operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION, "there was no such operation on this host")
}

// PlanOperation answers the forecast of the status for repave, the default.
func (s source) PlanOperation(_ context.Context, kind agentv1.OperationKind) (*agentv1.Forecast, error) {
	if kind != 0 && kind != agentv1.OperationKind_OPERATION_KIND_REPAVE || s.status.GetForecast() == nil {
		return nil, operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION, "the host is in no pool")
	}
	return s.status.GetForecast(), nil
}

// serve answers with a status on a socket.
func serve(t *testing.T, status *localv1.Status) string {
	t.Helper()
	return serveSource(t, source{status})
}

func serveSource(t *testing.T, from local.Source) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := local.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	server := local.NewServer(zaptest.NewLogger(t), listener, from, nil)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return path
}

func readyHost(now time.Time) *localv1.Status {
	at := func(ago time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-ago)) }
	condition := func(kind string, status agentv1.ConditionStatus, reason, message string) *agentv1.Condition {
		return &agentv1.Condition{Type: kind, Status: status, Reason: reason, Message: message, Since: at(3 * time.Minute)}
	}
	const yes, no = agentv1.ConditionStatus_CONDITION_STATUS_TRUE, agentv1.ConditionStatus_CONDITION_STATUS_FALSE
	return &localv1.Status{
		HostId: "edge-4c4c4544-0042-3510-8053-b7c04f564232", HostIdSource: "smbios", Version: "v0.1.0", StartedAt: at(time.Hour),
		Plane:      &localv1.PlaneConnection{Address: "plane.example:7443", Connected: true, Since: at(3 * time.Minute)},
		Assignment: &localv1.AssignmentState{Generation: 4, Pool: "shop", Cluster: "lab", KubernetesVersion: "1.31.5"},
		Network: &localv1.NetworkState{
			Nic: "lan0", NodeIp: "10.200.0.11", VpnServer: "10.200.0.2", Routes: []string{"10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11"},
			Repairs: 2, LastRepairAt: at(40 * time.Second), LastRepairTook: durationpb.New(380 * time.Microsecond),
		},
		Path:        []*localv1.PathTarget{{Target: "10.100.0.10:443", Method: "tcp", Ok: true, Rtt: durationpb.New(1230 * time.Microsecond)}},
		TimeServers: []*localv1.TimeServer{{Server: "203.0.113.20", Ok: true, Stratum: 1, Rtt: durationpb.New(400 * time.Microsecond)}},
		ClockOffset: durationpb.New(-150 * time.Microsecond), Runner: "direct",
		Conditions: []*agentv1.Condition{
			condition("Registered", yes, "Connected", "the stream to the plane is open; the host's certificate is valid until 2026-02-01T00:00:00Z"),
			condition("RoutesInstalled", yes, "Installed", "10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11"),
			condition("RepaveRequired", no, "UpToDate", "the node is what the plane wants"),
			condition("OperationRunning", no, "Succeeded", "provision done"),
		},
		Operation: &agentv1.OperationProgress{OperationId: "01hzzzzzzzzzzzzzzzzzzzzzzz", Kind: 1, State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED, EndedAt: at(5 * time.Minute)},
		Node:      &localv1.NodeSummary{Name: "edge-4c4c", Ready: true, AppliedKubernetesVersion: "1.31.5"},
	}
}

const wantTable = `Host        edge-4c4c4544-0042-3510-8053-b7c04f564232 (from smbios),
            hybrid-agent v0.1.0
Plane       plane.example:7443, connected for 3m
Assignment  generation 4, pool shop, cluster lab, Kubernetes 1.31.5
Network     lan0 with node IP 10.200.0.11, VPN server 10.200.0.2
            10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11
            2 repairs, the last 40s ago in 0.38 ms
Path        10.100.0.10:443 tcp: ok, 1.23 ms
Clock       0.15 ms ahead
            203.0.113.20: stratum 1, round trip 0.40 ms
Node        edge-4c4c, Ready, Kubernetes 1.31.5, operations run without systemd
            (direct)
Operation   provision 01hzzzzzzzzzzzzzzzzzzzzzzz, succeeded 5m ago

CONDITION         STATUS  FOR   REASON
Registered        True    3m    Connected
  the stream to the plane is open; the host's certificate is valid until
  2026-02-01T00:00:00Z
RoutesInstalled   True    3m    Installed
  10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11
RepaveRequired    False   3m    UpToDate
  the node is what the plane wants
OperationRunning  False   3m    Succeeded
  provision done
`

func TestStatusTable(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var out bytes.Buffer
	writeStatus(&out, false, readyHost(now), now)
	if out.String() != wantTable {
		t.Errorf("got\n%s\nwant\n%s", out.String(), wantTable)
	}
}

// TestOperationLines: what did not succeed says why.
func TestOperationLines(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const refused, failed, running = agentv1.OperationState_OPERATION_STATE_REFUSED, agentv1.OperationState_OPERATION_STATE_FAILED, agentv1.OperationState_OPERATION_STATE_RUNNING
	ended := timestamppb.New(now.Add(-5 * time.Minute))
	for want, o := range map[string]*agentv1.OperationProgress{
		"none":                                 nil,
		"provision op1, running at init, 40 %": {OperationId: "op1", Kind: 1, State: running, Step: "init", Percent: 40},
		"provision op1, failed 5m ago at init|no":                 {OperationId: "op1", Kind: 1, State: failed, Step: "init", EndedAt: ended, Message: "no"},
		"provision op1, refused 5m ago|stale":                     {OperationId: "op1", Kind: 1, State: refused, EndedAt: ended, Message: "stale"},
		"one that this host cannot verify, refused 5m ago|forged": {State: refused, EndedAt: ended, Message: "forged"},
	} {
		if got := strings.Join(operationLines(o, now), "|"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestStatusFits80Columns with the longest of everything, and with nothing at all.
func TestStatusFits80Columns(t *testing.T) {
	t.Parallel()
	now := time.Now()
	long := readyHost(now)
	long.HostId = strings.Repeat("x", 128)
	long.Plane = &localv1.PlaneConnection{Address: strings.Repeat("p", 100), LastError: strings.Repeat("e", 300), NextAttemptAt: timestamppb.New(now.Add(time.Minute))}
	long.Assignment.RefusedGeneration, long.Assignment.FromCache = 5, true
	long.Assignment.Refusals = []*agentv1.FieldRefusal{{Field: "network.vpc_cidrs[0]", Reason: strings.Repeat("reason ", 30)}}
	long.Network.ForeignRoutes = []string{strings.Repeat("r", 120)}
	long.Conditions[0].Message = strings.Repeat("m", 1024)
	long.TimeServers = append(long.TimeServers, &localv1.TimeServer{Server: "dead.example", Error: strings.Repeat("no ", 60)})
	for _, s := range []*localv1.Status{long, {}} {
		var out bytes.Buffer
		writeStatus(&out, false, s, now)
		for _, line := range strings.Split(out.String(), "\n") {
			if len(line) > width {
				t.Errorf("%d columns: %s", len(line), line)
			}
		}
	}
}

func TestNodeInTheStatus(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(d)) }
	s := readyHost(now)
	s.Node.Units = []string{"containerd.service active (running)", "kubelet.service failed (failed)"}
	s.Node.CertificateExpiresAt, s.Node.CertificateRenewalAt = at(240*time.Hour), at(-time.Minute)
	s.Node.ServingCertificate, s.Node.Unschedulable = "pending", true
	s.Node.Remarks = []string{"a node may not give itself this taint: kubectl taint node edge-1 a=b:NoSchedule"}
	s.Forecast = &agentv1.Forecast{Path: "upgrade", Reasons: []string{"Kubernetes 1.30.4 becomes 1.31.5"}, Duration: durationpb.New(5 * time.Minute), Downtime: durationpb.New(3 * time.Minute)}
	s.Operation = &agentv1.OperationProgress{OperationId: "op", Kind: 3, State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: "drain", Percent: 30, EstimatedEndAt: at(2 * time.Minute)}
	var out bytes.Buffer
	writeStatus(&out, false, s, now)
	const want = `Node        edge-4c4c, Ready, Kubernetes 1.31.5, operations run without systemd
            (direct)
            kubelet.service failed (failed)
            certificate for AWS ends in 10d, renewed in 0s
            serving certificate pending
            cordoned
            - a node may not give itself this taint: kubectl taint node edge-1
            a=b:NoSchedule
Repave      upgrade, about 5m, pods away for 3m; see "hybrid-agent operation
            plan"
            - Kubernetes 1.30.4 becomes 1.31.5
Operation   repave op, running at drain, 30 %, about 2m left
`
	if !strings.Contains(out.String(), want) {
		t.Errorf("the status is\n%s\nwithout\n%s", out.String(), want)
	}
	s.Forecast.Refusal = "the API does not answer"
	out.Reset()
	writeStatus(&out, false, s, now)
	if !strings.Contains(out.String(), "Repave      would be refused now: the API does not answer\n") {
		t.Errorf("the status is\n%s", out.String())
	}
}

func TestStatusOverTheSocket(t *testing.T) {
	t.Parallel()
	healthy := serve(t, readyHost(time.Now()))
	if code, stdout, stderr := run(t, "status", "--socket", healthy); code != 0 || !strings.Contains(stdout, "pool shop") || strings.Contains(stdout, "\x1b") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	code, stdout, _ := run(t, "status", "-o", "json", "--socket", healthy)
	var parsed struct {
		HostID string `json:"host_id"`
	}
	if err := json.Unmarshal([]byte(stdout), &parsed); err != nil || code != 0 || !strings.HasPrefix(parsed.HostID, "edge-4c4c") {
		t.Errorf("exit %d, %v in %s", code, err, stdout)
	}
	if code, stdout, _ = run(t, "status", "-o", "yaml", "--socket", healthy); code != 0 || !strings.Contains(stdout, "\nversion: v0.1.0\n") {
		t.Errorf("exit %d, %s", code, stdout)
	}
	if code, stdout, _ = run(t, "nics", "--socket", healthy); code != 0 || !strings.Contains(stdout, "also named enp1s0") || !strings.Contains(stdout, "selected") {
		t.Errorf("exit %d, %s", code, stdout)
	}
	sick := readyHost(time.Now())
	sick.Conditions[1].Status = agentv1.ConditionStatus_CONDITION_STATUS_FALSE
	if code, stdout, _ = run(t, "status", "--socket", serve(t, sick)); code != exitUnhealthy || !strings.Contains(stdout, "RoutesInstalled   False") {
		t.Errorf("exit %d, %s", code, stdout)
	}
}
