package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/internal/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// The plane of these tests is on the loopback: it answers whatever becomes of the
// way to the VPC, so that only the VPC verdict can tell a black hole.

const (
	// testTrial is how long a trial may take where nothing answers.
	testTrial = 12 * time.Second

	viaFormer = "10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11"
	viaOther  = "10.100.0.0/16 via 10.200.0.4 dev lan0 src 10.200.0.11"
	viaHole   = "10.100.0.0/16 via 10.200.0.3 dev lan0 src 10.200.0.11"
)

// through is a shop whose API endpoint is probed, with these VPN servers.
func through(servers ...string) *agentv1.Assignment {
	return shop(func(a *agentv1.Assignment) {
		a.Network.VpnServers, a.Node.VpnServers = servers, servers
		a.Probes.ApiEndpoint = "10.100.0.10:443"
	})
}

// settledSite is a host whose network is confirmed and whose path is healthy.
func settledSite(t *testing.T) (*planetest.Plane, *machine) {
	t.Helper()
	plane, m, _ := settledBehind(t, "10.200.0.2")
	return plane, m
}

// settledBehind is settledSite with VPN servers, and a way into their namespace.
func settledBehind(t *testing.T, servers ...string) (*planetest.Plane, *machine, func(func() error)) {
	t.Helper()
	site(t)
	inside := router(t)
	plane := planetest.New(t)
	plane.Start()
	m := newMachine(t, plane)
	m.cfg.Network.TrialTimeout = testTrial
	m.start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	plane.Assign(1, through(servers...))
	plane.Await("ACK", answered(1))
	m.awaitCondition(ConditionPathHealthy, "true", "Healthy")
	return plane, m, inside
}

func (m *machine) inKernel(want string) {
	m.t.Helper()
	if got := routes(m.t); !slices.Equal(got, []string{want}) {
		m.t.Errorf("routes %v, want %s", got, want)
	}
}

// local returns a client of the daemon's socket.
func (m *machine) local() localv1.LocalServiceClient {
	m.t.Helper()
	conn, err := grpc.NewClient("unix:"+m.cfg.Paths.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	ok(m.t, err)
	m.t.Cleanup(func() { _ = conn.Close() })
	return localv1.NewLocalServiceClient(conn)
}

func onTrial(s *localv1.Status) bool    { return s.GetNetwork().GetTrial() != nil }
func notOnTrial(s *localv1.Status) bool { return s.GetNetwork().GetTrial() == nil }

// TestTrialIsConfirmed: the plane answers and the VPC does as before.
func TestTrialIsConfirmed(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	pings := plane.Pings()
	plane.Assign(2, through("10.200.0.4"))
	if result := plane.Await("answer", answered(2)).GetAssignmentResult(); !result.GetAccepted() {
		t.Fatalf("result %v", result)
	}
	m.inKernel(viaOther)
	if plane.Pings() <= pings {
		t.Error("the plane was not called on a new connection")
	}
	m.restartsWith(plane, viaOther)
}

// restartsWith: what is confirmed is what a restart brings, with no plane in reach.
func (m *machine) restartsWith(plane *planetest.Plane, want string) {
	m.t.Helper()
	m.stop()
	plane.Stop()
	deleteRoute(m.t, "10.100.0.0/16")
	m.start()
	m.awaitCondition(ConditionRoutesInstalled, "true", "Installed")
	m.inKernel(want)
}

// TestBlackHoleIsRolledBack: the plane answers, the VPC does not.
func TestBlackHoleIsRolledBack(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	plane.Assign(2, through("10.200.0.3"))
	s := m.await("trial", onTrial)
	if trial := s.GetNetwork().GetTrial(); trial.GetOrigin() != "assignment 2" || s.GetAssignment().GetGeneration() != 1 {
		t.Errorf("trial %v of generation %d", trial, s.GetAssignment().GetGeneration())
	}
	contains(t, s.GetNetwork().GetTrial().GetChange(), "VPN servers 10.200.0.3 instead of 10.200.0.2")
	contains(t, conditionOf(s, ConditionRoutesInstalled).GetMessage(), "on trial until", "10.200.0.3")
	m.inKernel(viaHole)
	result := plane.Await("NACK", answered(2)).GetAssignmentResult()
	if result.GetAccepted() || len(result.GetRefusals()) != 1 || result.GetRefusals()[0].GetField() != "network.vpn_servers" {
		t.Fatalf("result %v", result)
	}
	contains(t, result.GetRefusals()[0].GetReason(), "tried and rolled back", "is down, before it was healthy", "network retry")
	m.inKernel(viaFormer)
	contains(t, m.awaitCondition(ConditionRoutesInstalled, "true", "Installed"), "generation 2 is refused", "rolled back")

	// The same network again, under another generation: no second trial.
	plane.Assign(3, through("10.200.0.3"))
	if plane.Await("NACK", answered(3)).GetAssignmentResult().GetAccepted() {
		t.Error("accepted")
	}
	if s := m.status(); onTrial(s) || s.GetNetwork().GetRolledBack().GetOrigin() != "assignment 2" {
		t.Errorf("network %v", s.GetNetwork())
	}
	m.restartsWith(plane, viaFormer)
	contains(t, conditionOf(m.status(), ConditionRoutesInstalled).GetMessage(), "rolled back")
}

// TestSilentPlaneRollsBack: the VPC answers, the plane does not on a new connection.
func TestSilentPlaneRollsBack(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	plane.Mute.Store(true)
	plane.Assign(2, through("10.200.0.4"))
	m.await("trial", onTrial)
	result := plane.Await("NACK", answered(2)).GetAssignmentResult()
	if result.GetAccepted() {
		t.Fatal("accepted")
	}
	contains(t, result.GetRefusals()[0].GetReason(), "plane")
	m.inKernel(viaFormer)
}

// TestPlaneHasItTriedAgain: what was rolled back is tried once more when the plane
// says so, and not because it sends it again.
func TestPlaneHasItTriedAgain(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	plane.Mute.Store(true)
	update := plane.Assign(2, through("10.200.0.4"))
	plane.Await("NACK", answered(2))
	plane.Mute.Store(false)
	again := func(retry bool) bool {
		update := proto.CloneOf(update)
		update.Retry = retry
		plane.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Assignment{Assignment: update}})
		return plane.Await("answer", answered(2)).GetAssignmentResult().GetAccepted()
	}
	if again(false) {
		t.Error("it was tried again by itself")
	}
	m.inKernel(viaFormer)
	if !again(true) {
		t.Error("it was refused")
	}
	m.inKernel(viaOther)
}

// TestRootEndsATrial: on the host itself, both ways, and tries again.
func TestRootEndsATrial(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	local := m.local()
	if _, err := local.ConfirmNetwork(t.Context(), &localv1.ConfirmNetworkRequest{}); err == nil || !strings.Contains(err.Error(), "on trial") {
		t.Errorf("confirmed nothing: %v", err)
	}
	plane.Mute.Store(true)
	plane.Assign(2, through("10.200.0.4"))
	m.await("trial", onTrial)
	answer, err := local.RollbackNetwork(t.Context(), &localv1.RollbackNetworkRequest{})
	ok(t, err)
	if answer.GetNetwork().GetTrial() != nil || answer.GetNetwork().GetVpnServer() != "10.200.0.2" {
		t.Errorf("after the rollback: %v", answer.GetNetwork())
	}
	m.inKernel(viaFormer)
	contains(t, plane.Await("NACK", answered(2)).GetAssignmentResult().GetRefusals()[0].GetReason(), "root")

	_, err = local.RetryNetwork(t.Context(), &localv1.RetryNetworkRequest{})
	ok(t, err)
	m.await("second trial", onTrial)
	_, err = local.ConfirmNetwork(t.Context(), &localv1.ConfirmNetworkRequest{})
	ok(t, err)
	if result := plane.Await("ACK", answered(2)).GetAssignmentResult(); !result.GetAccepted() {
		t.Errorf("result %v", result)
	}
	m.inKernel(viaOther)
	m.restartsWith(plane, viaOther)
}

// TestNewerAssignmentReplacesATrial: the plane has changed its mind.
func TestNewerAssignmentReplacesATrial(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	plane.Assign(2, through("10.200.0.3"))
	m.await("trial", onTrial)
	plane.Assign(3, through("10.200.0.4"))
	if !plane.Await("ACK", answered(3)).GetAssignmentResult().GetAccepted() {
		t.Error("refused")
	}
	m.inKernel(viaOther)
	plane.Assign(4, through("10.200.0.3"))
	m.await("trial", onTrial)
	plane.Assign(5, through("10.200.0.4")) // what is confirmed
	if !plane.Await("ACK", answered(5)).GetAssignmentResult().GetAccepted() {
		t.Error("refused")
	}
	m.await("end of the trial", notOnTrial)
	m.inKernel(viaOther)
	m.restartsWith(plane, viaOther)
}

// TestLeavingAPoolTakesTheRoutes, also in the middle of a trial.
func TestLeavingAPoolTakesTheRoutes(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	plane.Assign(2, through("10.200.0.3"))
	m.await("trial", onTrial)
	plane.Assign(3, &agentv1.Assignment{HostId: testHost})
	plane.Await("ACK", answered(3))
	if got := routes(t); len(got) != 0 {
		t.Errorf("routes %v", got)
	}
}
