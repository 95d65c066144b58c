package metrics

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type source struct{ status *localv1.Status }

func (s source) Status() *localv1.Status { return s.status }
func (source) Connects() uint64          { return 3 }

func full() *localv1.Status {
	at := timestamppb.New(time.Unix(1_700_000_000, 500_000_000))
	return &localv1.Status{
		Version:    "v1.2.3",
		Plane:      &localv1.PlaneConnection{Connected: true, CertificateExpiresAt: at},
		Assignment: &localv1.AssignmentState{Generation: 7},
		Network: &localv1.NetworkState{
			Trial:      &localv1.NetworkTrial{Origin: "assignment 8"},
			VpnServers: []*localv1.VPNServer{{Address: "10.200.0.2", Active: true, Ok: true}, {Address: "10.200.0.3"}, {Address: "10.200.0.3", Ok: true}},
			Routes:     []string{"10.100.0.0/16 via 10.200.0.2"}, Repairs: 2, LastRepairAt: at, LastRepairTook: durationpb.New(400 * time.Microsecond),
		},
		PathSummary: &localv1.PathSummary{Verdict: "Unreachable", Segment: "tunnel", PathMtu: 1400},
		Path: []*localv1.PathTarget{
			{Target: "10.100.0.10:443", Method: "tcp", Ok: true, Rtt: durationpb.New(1500 * time.Microsecond)},
			{Target: "10.100.0.1", Method: "icmp", Error: "no answer"},
			{Target: "10.100.0.1", Method: "icmp", Error: "named twice"},
		},
		TimeServers: []*localv1.TimeServer{{Server: "ntp.example", Ok: true, Offset: durationpb.New(-time.Second)}, {Server: "dead.example"}},
		ClockOffset: durationpb.New(-time.Second),
		Conditions: []*agentv1.Condition{
			{Type: "Registered", Status: agentv1.ConditionStatus_CONDITION_STATUS_TRUE},
			{Type: "OperationRunning", Status: agentv1.ConditionStatus_CONDITION_STATUS_TRUE},
		},
		Operation: &agentv1.OperationProgress{Kind: agentv1.OperationKind_OPERATION_KIND_PROVISION},
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	const want = `
# HELP hybrid_agent_assignment_generation Generation of the assignment in force; 0: none.
# TYPE hybrid_agent_assignment_generation gauge
hybrid_agent_assignment_generation 7
# HELP hybrid_agent_clock_offset_seconds What to add to the clock to agree with the NTP servers.
# TYPE hybrid_agent_clock_offset_seconds gauge
hybrid_agent_clock_offset_seconds -1
# HELP hybrid_agent_condition Whether the condition has this status: 1 for the one it has, 0 for the others.
# TYPE hybrid_agent_condition gauge
hybrid_agent_condition{status="false",type="OperationRunning"} 0
hybrid_agent_condition{status="false",type="Registered"} 0
hybrid_agent_condition{status="true",type="OperationRunning"} 1
hybrid_agent_condition{status="true",type="Registered"} 1
hybrid_agent_condition{status="unknown",type="OperationRunning"} 0
hybrid_agent_condition{status="unknown",type="Registered"} 0
# HELP hybrid_agent_operation_running Whether an operation runs.
# TYPE hybrid_agent_operation_running gauge
hybrid_agent_operation_running{kind="provision"} 1
# HELP hybrid_agent_path_probe_rtt_seconds Round-trip time of the last answer of the target.
# TYPE hybrid_agent_path_probe_rtt_seconds gauge
hybrid_agent_path_probe_rtt_seconds{method="tcp",target="10.100.0.10:443"} 0.0015
# HELP hybrid_agent_path_probe_success Whether the last probe of the target was answered.
# TYPE hybrid_agent_path_probe_success gauge
hybrid_agent_path_probe_success{method="icmp",target="10.100.0.1"} 0
hybrid_agent_path_probe_success{method="tcp",target="10.100.0.10:443"} 1
# HELP hybrid_agent_path_mtu_bytes Size of the largest packet that the way to the VPC carries.
# TYPE hybrid_agent_path_mtu_bytes gauge
hybrid_agent_path_mtu_bytes 1400
# HELP hybrid_agent_path_verdict Whether the verdict on the way to the VPC names this segment as broken; segment none: the way is healthy.
# TYPE hybrid_agent_path_verdict gauge
hybrid_agent_path_verdict{segment="API port"} 0
hybrid_agent_path_verdict{segment="DNS"} 0
hybrid_agent_path_verdict{segment="MTU"} 0
hybrid_agent_path_verdict{segment="VPN server"} 0
hybrid_agent_path_verdict{segment="address"} 0
hybrid_agent_path_verdict{segment="clock"} 0
hybrid_agent_path_verdict{segment="gateway"} 0
hybrid_agent_path_verdict{segment="internet"} 0
hybrid_agent_path_verdict{segment="link"} 0
hybrid_agent_path_verdict{segment="none"} 0
hybrid_agent_path_verdict{segment="proxy"} 0
hybrid_agent_path_verdict{segment="reverse-path filter"} 0
hybrid_agent_path_verdict{segment="tunnel"} 1
# HELP hybrid_agent_route_last_repair_seconds How long the last repair took from the kernel's event to the route's return.
# TYPE hybrid_agent_route_last_repair_seconds gauge
hybrid_agent_route_last_repair_seconds 0.0004
# HELP hybrid_agent_route_repairs_total Routes that were put back since the daemon started.
# TYPE hybrid_agent_route_repairs_total counter
hybrid_agent_route_repairs_total 2
# HELP hybrid_agent_session_connects_total Streams that the plane has welcomed since the daemon started.
# TYPE hybrid_agent_session_connects_total counter
hybrid_agent_session_connects_total 3
# HELP hybrid_agent_network_on_trial Whether a change of the network is on trial.
# TYPE hybrid_agent_network_on_trial gauge
hybrid_agent_network_on_trial 1
# HELP hybrid_agent_network_rolled_back Whether a change of the network was rolled back and waits for another, or for somebody to retry it.
# TYPE hybrid_agent_network_rolled_back gauge
hybrid_agent_network_rolled_back 0
# HELP hybrid_agent_vpn_server_active Whether the routes lead through the VPN server.
# TYPE hybrid_agent_vpn_server_active gauge
hybrid_agent_vpn_server_active{server="10.200.0.2"} 1
hybrid_agent_vpn_server_active{server="10.200.0.3"} 0
# HELP hybrid_agent_vpn_server_up Whether the last probe through the VPN server was answered.
# TYPE hybrid_agent_vpn_server_up gauge
hybrid_agent_vpn_server_up{server="10.200.0.2"} 1
hybrid_agent_vpn_server_up{server="10.200.0.3"} 0
`
	names := []string{
		"hybrid_agent_assignment_generation", "hybrid_agent_clock_offset_seconds", "hybrid_agent_condition", "hybrid_agent_operation_running",
		"hybrid_agent_path_probe_rtt_seconds", "hybrid_agent_path_probe_success", "hybrid_agent_route_last_repair_seconds",
		"hybrid_agent_route_repairs_total", "hybrid_agent_session_connects_total",
		"hybrid_agent_path_mtu_bytes", "hybrid_agent_path_verdict", "hybrid_agent_vpn_server_up",
		"hybrid_agent_network_on_trial", "hybrid_agent_network_rolled_back", "hybrid_agent_vpn_server_active",
	}
	if err := testutil.CollectAndCompare(newCollector(source{full()}), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

// TestNames is the list of metrics; changing it breaks dashboards and alerts.
func TestNames(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(source{full()}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, strings.TrimPrefix(f.GetName(), "hybrid_agent_"))
	}
	want := []string{
		"assignment_generation", "build_info", "certificate_expiry_timestamp_seconds", "clock_offset_seconds", "condition",
		"network_on_trial", "network_rolled_back", "ntp_server_offset_seconds", "ntp_server_up", "operation_running", "path_mtu_bytes", "path_probe_rtt_seconds", "path_probe_success", "path_verdict",
		"route_last_repair_seconds", "route_last_repair_timestamp_seconds", "route_repairs_total", "routes_installed",
		"session_connected", "session_connects_total", "vpn_server_active", "vpn_server_up",
	}
	if !slices.Equal(names, want) {
		t.Errorf("metrics\n%v, want\n%v", names, want)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("by Prometheus conventions: %v, %v", problems, err)
	}
	if _, err := testutil.CollectAndFormat(newCollector(source{&localv1.Status{}}), expfmt.TypeTextPlain); err != nil {
		t.Errorf("an empty state: %v", err)
	}
}

func TestServes(t *testing.T) {
	t.Parallel()
	s := NewServer(zaptest.NewLogger(t), "127.0.0.1:0", source{full()})
	address := make(chan net.Addr, 1)
	s.bound = func(a net.Addr) { address <- a }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	base := "http://" + (<-address).String()
	response, err := client.Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	for _, want := range []string{`hybrid_agent_build_info{`, `version="v1.2.3"`, "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in the scrape", want)
		}
	}
	if response, err = client.Get(base + "/"); err != nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("another path: %v, %v", response, err)
	}
	_ = response.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// TestAddressThatCannotBeHad keeps the daemon alive, and ends with it.
func TestAddressThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"192.0.2.99:1", ""} {
		s := NewServer(zaptest.NewLogger(t), address, source{full()})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		<-s.Ready()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%q: Run returned %v", address, err)
		}
	}
}
