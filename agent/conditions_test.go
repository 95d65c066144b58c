package agent

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/hostid"
	"hybridagent/agent/identity"
	"hybridagent/agent/internal/planetest"
	"hybridagent/agent/operation"
	"hybridagent/agent/path"
	"hybridagent/agent/session"
	"hybridagent/agent/timesync"
	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	"hybridagent/systemd"
)

func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

func route() netcfg.Route {
	return netcfg.Route{
		Dst: netip.MustParsePrefix("10.100.0.0/16"), Gateway: netip.MustParseAddr("10.200.0.2"), Source: netip.MustParseAddr("10.200.0.11"),
		LinkIndex: 4, Protocol: netcfg.OwnProtocol, Table: netcfg.TableMain,
	}
}

// healthyFacts is a Ready node; each case changes what it is about.
func healthyFacts(t *testing.T) *facts {
	t.Helper()
	a, refusals := checkAssignment(planetest.Update(4, shop(func(a *agentv1.Assignment) {
		a.Probes.ApiEndpoint = "10.100.0.10:443"
		a.Time.NtpServers = []string{"ntp.example"}
	})), testHost)
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	link := netcfg.Link{Index: 4, Name: "lan0"}
	return &facts{
		hostID:     hostid.ID{ID: testHost},
		identity:   &identity.Identity{Certificate: &x509.Certificate{NotAfter: noon().Add(time.Hour)}},
		session:    session.State{Connected: true},
		assignment: a, provisioned: a, record: networkRecord{Confirmed: a.network.config()},
		net: netResult{
			selected: true, selection: netcfg.Selection{Link: link, NodeIP: netip.MustParseAddr("10.200.0.11"), Reason: "VPN server 10.200.0.2 is on-link"},
			vpnServer: netip.MustParseAddr("10.200.0.2"), candidates: []netcfg.Candidate{{Link: link}},
		},
		routes: netcfg.KeeperStatus{Installed: []netcfg.Route{route()}},
		path: path.Report{
			Plan: path.Plan{NIC: "lan0", Source: netip.MustParseAddr("10.200.0.11"), APIEndpoint: "10.100.0.10:443"}, Verdict: path.Healthy,
			Results: []path.Result{{Target: "10.100.0.10:443", API: true, OK: true}},
		},
		time: timesync.Report{Servers: []timesync.Server{{Address: "ntp.example", OK: true}}, Measured: true, At: noon()},
		node: nodeFacts{state: &agentv1.NodeState{
			AppliedNodeDigest: a.msg.GetNodeDigest(), NodeReady: true, NodeName: testHost, KubeletVersion: "v1.31.5", CertificateInstalled: true,
		}},
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	failedOp := &agentv1.OperationProgress{OperationId: "op1", Kind: agentv1.OperationKind_OPERATION_KIND_PROVISION,
		State: agentv1.OperationState_OPERATION_STATE_FAILED, Step: "nodeadm-init", Message: "nodeadm exited with 1; look at the journal"}
	bare := func(f *facts) {
		f.provisioned, f.node.state = nil, &agentv1.NodeState{}
	}
	refused := func(message string) *agentv1.OperationProgress {
		return &agentv1.OperationProgress{OperationId: "op2", State: agentv1.OperationState_OPERATION_STATE_REFUSED, Message: message}
	}
	for name, tc := range map[string]struct {
		change func(*facts)
		want   []string // "Type Status Reason" and words of the message
	}{
		"healthy": {func(*facts) {}, []string{
			"Registered True Connected", "NICSelected True Auto|lan0 with node IP 10.200.0.11", "RoutesInstalled True Installed|10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11",
			"PathHealthy True Healthy", "TimeSynced True Synced|1 of 1 NTP servers|measured only: hybrid-agent does not steer the clock yet",
			"NodeReady True Ready|v1.31.5", "RepaveRequired False UpToDate", "OperationRunning False None",
		}},
		"no host ID":   {func(f *facts) { f.hostID.ID = "" }, []string{"Registered False HostIDMissing|start hybrid-agent-op.service"}},
		"not enrolled": {func(f *facts) { f.identity = nil }, []string{"Registered False Enrolling"}},
		"wrong pin": {func(f *facts) {
			f.identity, f.enrollErr = nil, &identity.Error{Reason: identity.ReasonWrongCAPin, Err: errors.New("pins differ")}
		}, []string{"Registered False WrongCAPin|pins differ"}},
		"plane away": {func(f *facts) {
			f.session = session.State{LastError: errors.New("no route to host"), LastReason: identity.ReasonPlaneUnreachable}
		}, []string{"Registered True Disconnected|no route to host|works from its cache"}},
		"plane refuses": {func(f *facts) {
			f.session = session.State{LastError: errors.New("removed"), LastReason: identity.ReasonRequestRefused}
		}, []string{"Registered False RequestRefused|removed"}},
		"certificate over": {func(f *facts) {
			f.session = session.State{}
			f.identity.Certificate.NotAfter = noon().Add(-time.Minute)
		}, []string{"Registered False CertificateExpired|fresh enrolment token"}},
		"no assignment": {func(f *facts) { *f = facts{hostID: f.hostID, identity: f.identity, session: f.session} }, []string{
			"NICSelected Unknown NotAssigned", "RoutesInstalled Unknown NotAssigned", "PathHealthy Unknown NotAssigned",
			"TimeSynced Unknown NotAssigned", "NodeReady Unknown NotAssigned", "RepaveRequired Unknown NodeUnknown",
		}},
		"in no pool": {func(f *facts) {
			bare(f)
			f.assignment = &assignment{update: &agentv1.AssignmentUpdate{}, msg: &agentv1.Assignment{}}
		}, []string{"NICSelected Unknown NotInPool|add its host ID", "TimeSynced Unknown NotInPool", "NodeReady Unknown NotInPool"}},
		"named NIC":     {func(f *facts) { f.record.Confirmed.NICName = "lan0" }, []string{"NICSelected True Named"}},
		"no NIC, bare":  {func(f *facts) { f.net.selected, f.path, f.routes.Installed = false, path.Report{}, nil }, []string{"RoutesInstalled False NoNIC|see NICSelected", "PathHealthy Unknown NoNIC"}},
		"no NIC, route": {func(f *facts) { f.net.selected = false }, []string{"RoutesInstalled False NoNIC|former routes stay"}},
		"kernel refuses": {func(f *facts) {
			f.routes.Missing = []netcfg.RouteFailure{{Route: route(), Err: errors.New("operation not permitted")}}
		}, []string{"RoutesInstalled False KernelRefused|10.100.0.0/16|operation not permitted"}},
		"foreign route": {func(f *facts) {
			foreign := route()
			foreign.Protocol, foreign.Metric = 4, 100
			f.routes.Foreign = []netcfg.Route{foreign}
		}, []string{"RoutesInstalled True Installed|stay untouched|proto 4 metric 100"}},
		"fight": {func(f *facts) { f.routes.Damped = []netcfg.Route{route()} }, []string{"RoutesInstalled True Installed|something on this host keeps removing|find it"}},
		"fight with a name": {func(f *facts) {
			f.routes.Damped, f.routes.Rival = []netcfg.Route{route()}, "systemd-networkd.service"
		}, []string{"RoutesInstalled True Installed|systemd-networkd.service keeps removing|host-setup networkd"}},
		"API dead": {func(f *facts) {
			f.path.Verdict, f.path.Segment, f.path.Message = path.APIUnreachable, path.SegmentAPI, "10.100.0.10:443 refuses; check its security group"
		}, []string{"PathHealthy False APIUnreachable|10.100.0.10:443 refuses|security group"}},
		"one address of the API dead": {func(f *facts) {
			f.path.Results = append(f.path.Results, path.Result{Target: "10.100.0.11:443", API: true, Error: "no answer"})
		}, []string{"PathHealthy True Healthy|no answer from 10.100.0.11:443 (no answer)"}},
		"another lease": {func(f *facts) { f.node.state.InternalIp = "10.200.0.10" }, []string{"NICSelected True Auto|10.200.0.10|until a repave|DHCP reservation"}},
		"standby dead": {func(f *facts) {
			f.path.Servers = []path.ServerReport{{Server: netip.MustParseAddr("10.200.0.3"), Error: "no answer", At: noon()}}
		}, []string{"PathHealthy True Healthy|VPN server 10.200.0.3 is down"}},
		"MTU set": {func(f *facts) { f.path.Plan.RouteMTU = 1400 }, []string{"PathHealthy True Healthy|1400 bytes"}},
		"no NIC, told by path": {func(f *facts) {
			f.net.selected = false
			f.path = path.Report{Verdict: path.Unreachable, Segment: path.SegmentLink, Message: "lan0 has no carrier; check the cable"}
		}, []string{"PathHealthy False Unreachable|check the cable"}},
		"on trial": {func(f *facts) {
			f.trial = &trial{rule: netcfg.Trial{Deadline: noon()}, network: f.assignment.network, next: f.assignment, waits: "the plane is silent"}
		}, []string{"RoutesInstalled Unknown OnTrial|until 2026-01-02T12:00:00Z|the plane is silent"}},
		"rolled back to nothing": {func(f *facts) {
			f.record = networkRecord{RolledBack: &rolledBack{Network: f.assignment.network.config(), Reason: "the plane was silent"}}
		}, []string{"RoutesInstalled False RolledBack|the plane was silent|network retry"}},
		"tunnel dead": {func(f *facts) {
			f.path.Verdict, f.path.Segment, f.path.Message = path.Unreachable, path.SegmentTunnel, "VPN server 10.200.0.2 answers, nothing behind it"
		}, []string{"PathHealthy False Unreachable|VPN server 10.200.0.2 answers"}},
		"name":            {func(f *facts) { f.path.Verdict, f.path.Message = path.NameUnresolved, "no DNS server answers" }, []string{"PathHealthy False NameUnresolved|DNS"}},
		"nothing probed":  {func(f *facts) { f.path = path.Report{Plan: path.Plan{NIC: "lan0"}} }, []string{"PathHealthy Unknown NotConfigured"}},
		"clock behind":    {func(f *facts) { f.time.Offset = time.Hour }, []string{"TimeSynced False ClockBehind|1h0m0s behind|measured only"}},
		"clock ahead":     {func(f *facts) { f.time.Offset = -time.Minute }, []string{"TimeSynced False ClockAhead|1m0s ahead"}},
		"NTP unreachable": {func(f *facts) { f.time.Measured = false }, []string{"TimeSynced False Unreachable|none of 1 NTP servers"}},
		"no NTP":          {func(f *facts) { f.assignment.msg.Time.NtpServers = nil }, []string{"TimeSynced Unknown NotConfigured"}},
		"kubelet dead":    {func(f *facts) { f.node.kubeletErr = errors.New("connection refused") }, []string{"NodeReady False KubeletUnhealthy|journalctl -u kubelet"}},
		"not Ready": {func(f *facts) {
			f.node.state.NodeReady, f.node.state.Reason, f.node.state.Message = false, "KubeletNotReady", "no CNI"
		}, []string{"NodeReady False KubeletNotReady|no CNI"}},
		"no door": {func(f *facts) { bare(f); f.node = nodeFacts{doorErr: errors.New("cannot reach hybrid-agent-op")} }, []string{
			"NodeReady Unknown DoorUnreachable|cannot reach hybrid-agent-op", "RepaveRequired Unknown NodeUnknown"}},
		"waits for a certificate": {bare, []string{"NodeReady False NotProvisioned|the node's certificate is not installed yet", "RepaveRequired False NotProvisioned"}},
		"plane does not sign":     {func(f *facts) { bare(f); f.node.certificateErr = errors.New("no CA key") }, []string{"NodeReady False NodeCertificate|no CA key"}},
		"waits for the plane":     {func(f *facts) { bare(f); f.node.state.CertificateInstalled = true }, []string{"NodeReady False NotProvisioned|waits for the plane"}},
		"provisioning": {func(f *facts) {
			bare(f)
			f.operation = operationFacts{running: true, progress: &agentv1.OperationProgress{OperationId: "op1", Step: "nodeadm-install", Kind: 1}}
		}, []string{"NodeReady False Provisioning", "OperationRunning True Running|provision op1: nodeadm-install"}},
		"failed": {func(f *facts) { bare(f); f.operation = operationFacts{progress: failedOp} }, []string{
			"NodeReady False ProvisionFailed|failed at nodeadm-init|look at the journal; when the cause is mended, run \"hybridctl provision " + testHost + "\"", "OperationRunning False Failed|nodeadm-init|look at the journal"}},
		"refused operation": {func(f *facts) { f.operation.refused = refused("forged") }, []string{"NodeReady True Ready", "OperationRunning False Refused|operation refused: forged"}},
		"refused, no node yet": {func(f *facts) { bare(f); f.operation.refused = refused(strings.Repeat("forged ", 200)) }, []string{
			"NodeReady False ProvisionRefused|forged|when the cause is mended, run \"hybridctl provision " + testHost + "\"", "OperationRunning False Refused|forged"}},
		"refused after a failure": {func(f *facts) {
			bare(f)
			f.operation = operationFacts{progress: failedOp, refused: refused("forged")}
		}, []string{"NodeReady False ProvisionRefused|forged", "OperationRunning False Refused|forged"}},
		"busy": {func(f *facts) {
			f.operation = operationFacts{running: true, doorErr: operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY, "operation op0 runs")}
		}, []string{"OperationRunning False DoorBusy|operation op0 runs"}},
		"containerd stopped": {func(f *facts) {
			f.node.units = []systemd.UnitState{{Name: containerdUnit, Load: "loaded", Active: "failed", Sub: "failed"}, {Name: kubeletUnit, Load: "loaded", Active: "inactive", Sub: "dead"}}
		}, []string{"NodeReady False ContainerdStopped|containerd.service is failed|journalctl -u containerd"}},
		"kubelet gone": {func(f *facts) {
			f.node.units = []systemd.UnitState{{Name: kubeletUnit, Load: "not-found", Active: "inactive"}}
		}, []string{"NodeReady False KubeletMissing|operation repair"}},
		"kubelet stopped by an operation": {func(f *facts) {
			f.operation.running = true
			f.node.units = []systemd.UnitState{{Name: kubeletUnit, Load: "loaded", Active: "inactive", Sub: "dead"}}
		}, []string{"NodeReady True Ready"}},
		"SSM agent stopped": {func(f *facts) {
			f.node.state.AppliedNode = &agentv1.NodeSpec{Access: &agentv1.AccessManagement{Method: &agentv1.AccessManagement_Ssm{Ssm: &agentv1.SSMAccess{}}}}
			f.node.units = []systemd.UnitState{{Name: "amazon-ssm-agent.service", Load: "loaded", Active: "inactive", Sub: "dead"}}
		}, []string{"NodeReady False SSMAgentStopped|systemctl restart amazon-ssm-agent"}},
		"serving certificate": {func(f *facts) {
			f.node.state.ServingCertificate, f.node.state.ServingCertificateMessage = "pending", "nobody has approved csr-1"
		}, []string{"NodeReady True ServingCertificate|logs, exec and metrics|nobody has approved csr-1"}},
		"certificate not renewed": {func(f *facts) {
			f.node.state.CertificateValidFrom, f.node.state.CertificateExpiresAt = timestamppb.New(noon().Add(-time.Hour)), timestamppb.New(noon().Add(time.Hour))
			f.node.certificateErr = errors.New("the plane is away")
		}, []string{"NodeReady True CertificateRenewal|ends 2026-01-02T13:00:00Z|the plane is away"}},
		"certificate about to end": {func(f *facts) {
			f.node.state.CertificateValidFrom, f.node.state.CertificateExpiresAt = timestamppb.New(noon().Add(-5*time.Hour)), timestamppb.New(noon().Add(time.Hour))
			f.node.certificateErr = errors.New("the plane is away")
		}, []string{"NodeReady False NodeCertificate|the plane is away"}},
		"labels refused": {func(f *facts) { f.node.labelsErr = errors.New("403") }, []string{"NodeReady True Labels|403"}},
		"cordoned":       {func(f *facts) { f.node.state.Unschedulable = true }, []string{"NodeReady True Cordoned|kubectl uncordon " + testHost}},
		"aborted": {func(f *facts) {
			f.operation.progress = &agentv1.OperationProgress{OperationId: "op1", Kind: 3, State: agentv1.OperationState_OPERATION_STATE_ABORTED, Message: "the former version is in force"}
		}, []string{"OperationRunning False Aborted|repave op1 was aborted: the former version"}},
		"repave": {func(f *facts) { f.node.state.AppliedNodeDigest = "other" }, []string{"RepaveRequired True FieldsDiffer|stays as it is until \"hybridctl repave shop\""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := healthyFacts(t)
			tc.change(f)
			got := map[string]*agentv1.Condition{}
			for _, c := range computeConditions(f, noon()) {
				got[c.GetType()] = c
				if c.GetReason() == "" || c.GetMessage() == "" || len(c.GetMessage()) > maxMessage || strings.ContainsAny(c.GetReason(), " .") {
					t.Errorf("condition %v", c)
				}
			}
			for _, want := range tc.want {
				parts := strings.Split(want, "|")
				words := strings.Fields(parts[0])
				c := got[words[0]]
				status := strings.TrimPrefix(c.GetStatus().String(), "CONDITION_STATUS_")
				if !strings.EqualFold(status, words[1]) || c.GetReason() != words[2] {
					t.Errorf("got %s %s %s (%s), want %s", c.GetType(), status, c.GetReason(), c.GetMessage(), parts[0])
				}
				contains(t, c.GetMessage(), parts[1:]...)
			}
		})
	}
}

func TestSinceChangesWithStatusOnly(t *testing.T) {
	t.Parallel()
	f := healthyFacts(t)
	first := carrySince(nil, computeConditions(f, noon()), noon())
	f.path.Verdict = path.Unreachable
	f.routes.Damped = []netcfg.Route{route()} // another message, the same status
	later := noon().Add(time.Minute)
	second := carrySince(first, computeConditions(f, later), later)
	for _, c := range second {
		want := noon()
		if c.GetType() == ConditionPathHealthy {
			want = later
		}
		if !c.GetSince().AsTime().Equal(want) {
			t.Errorf("%s since %s, want %s", c.GetType(), c.GetSince().AsTime(), want)
		}
	}
}

func TestHealthy(t *testing.T) {
	t.Parallel()
	f := healthyFacts(t)
	f.assignment.msg.Time.NtpServers = nil // not asked for is not unhealthy
	for _, c := range computeConditions(f, noon()) {
		if !Healthy(c) {
			t.Errorf("unhealthy: %v", c)
		}
	}
	f.node.state.AppliedNodeDigest = "other"
	f.path.Verdict = path.Unreachable
	bad := ""
	for _, c := range computeConditions(f, noon()) {
		if !Healthy(c) {
			bad += c.GetType() + " "
		}
	}
	if bad != "PathHealthy RepaveRequired " {
		t.Errorf("unhealthy: %s", bad)
	}
}

func TestLongMessageIsCut(t *testing.T) {
	t.Parallel()
	f := healthyFacts(t)
	f.node.kubeletErr = fmt.Errorf("%s", strings.Repeat("é", 2000))
	for _, c := range computeConditions(f, noon()) {
		if len(c.GetMessage()) > maxMessage || strings.ContainsRune(c.GetMessage(), '\uFFFD') {
			t.Errorf("%s: %d bytes", c.GetType(), len(c.GetMessage()))
		}
	}
}
