package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hybridagent/agent/internal/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

const wantRoute = "10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11"

// joined starts plane and daemon, and waits until the stream is open.
func joined(t *testing.T) (*planetest.Plane, *machine) {
	t.Helper()
	site(t)
	plane := planetest.New(t)
	plane.Start()
	m := newMachine(t, plane)
	m.start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	return plane, m
}

func accepted(m *agentv1.AgentMessage) bool { return m.GetAssignmentResult().GetAccepted() }

func TestFromBareHostToReadyNode(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	hello := plane.Await("hello", func(m *agentv1.AgentMessage) bool { return m.GetHello() != nil }).GetHello()
	if hello.GetHostId() != testHost || hello.GetGeneration() != 0 || hello.GetBootId() == "" {
		t.Errorf("hello %v", hello)
	}
	inventory := plane.Await("inventory", func(m *agentv1.AgentMessage) bool { return len(m.GetInventory().GetNics()) >= 4 })
	if !slices.ContainsFunc(inventory.GetInventory().GetNics(), func(n *agentv1.NIC) bool { return n.GetName() == "office0" && n.GetSelected() }) {
		t.Errorf("without an assignment the NIC with the default route is the choice: %v", inventory)
	}
	update := plane.Assign(3, shop())
	plane.Await("ACK", accepted)
	if got := routes(t); !slices.Equal(got, []string{wantRoute}) {
		t.Fatalf("routes after the ACK: %v", got)
	}
	plane.Await("node certificate request", func(m *agentv1.AgentMessage) bool {
		return string(m.GetNodeCertificateRequest().GetCsr()) == "csr"
	})
	plane.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_NodeCertificate{NodeCertificate: &agentv1.NodeCertificateResponse{Certificate: []byte("cert")}}})
	ready := plane.Await("ready_to_provision", func(m *agentv1.AgentMessage) bool { return m.GetStatus().GetReadyToProvision() }).GetStatus()
	if ready.GetNodeIp() != "10.200.0.11" || ready.GetNic() != "lan0" || !slices.Equal(ready.GetRoutes(), []string{wantRoute}) {
		t.Errorf("status %v", ready)
	}
	op := &agentv1.Operation{
		Id: strings.Repeat("o", 26), HostId: testHost, Kind: agentv1.OperationKind_OPERATION_KIND_PROVISION,
		Sequence: &agentv1.Sequence{Epoch: 1, Counter: 1}, Node: shop().GetNode(), NodeDigest: shop().GetNodeDigest(), NodeIp: "10.200.0.11",
	}
	plane.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Operation{Operation: plane.Sign(op)}})
	plane.Await("success", func(m *agentv1.AgentMessage) bool { return succeeded(m.GetOperation()) })
	// kubelet's health endpoint is not there in this namespace.
	contains(t, m.awaitCondition(ConditionNodeReady, "false", "KubeletUnhealthy"), "journalctl -u kubelet")
	m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
	if !m.door.isErased() {
		t.Error("the enrolment token was not erased")
	}
	restartWithoutPlane(t, plane, m, update)
	keepsProvisionedNetwork(t, plane, m)
}

// restartWithoutPlane: a host boots and routes from its cache.
func restartWithoutPlane(t *testing.T, plane *planetest.Plane, m *machine, update *agentv1.AssignmentUpdate) {
	t.Helper()
	m.stop()
	if got := routes(t); !slices.Equal(got, []string{wantRoute}) {
		t.Fatalf("a stopped daemon must leave its routes: %v", got)
	}
	plane.Stop()
	deleteRoute(t, "10.100.0.0/16")
	m.start()
	s := m.await("route from the cache", func(s *localv1.Status) bool { return len(s.GetNetwork().GetRoutes()) == 1 })
	if !s.GetAssignment().GetFromCache() || s.GetAssignment().GetDigest() != update.GetDigest() || len(routes(t)) != 1 {
		t.Errorf("status from the cache: %v", s.GetAssignment())
	}
	contains(t, m.awaitCondition(ConditionRegistered, "true", "Disconnected"), "works from its cache", plane.Address(), "keeps trying")
	plane.Greet = &agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Welcome{Welcome: &agentv1.Welcome{
		PlaneVersion: "test", Generation: update.GetGeneration(),
	}}}
	plane.Start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	m.await("the plane's confirmation", func(s *localv1.Status) bool { return !s.GetAssignment().GetFromCache() })
	m.await("operation's end again", func(s *localv1.Status) bool { return succeeded(s.GetOperation()) })
}

// keepsProvisionedNetwork: a node's network changes only with an operation.
func keepsProvisionedNetwork(t *testing.T, plane *planetest.Plane, m *machine) {
	t.Helper()
	plane.Assign(4, shop(func(a *agentv1.Assignment) {
		a.Network.VpnServers, a.Node.VpnServers = []string{"10.200.0.3"}, []string{"10.200.0.3"}
		a.NodeDigest = strings.Repeat("b", 64)
	}))
	contains(t, m.awaitCondition(ConditionRepaveRequired, "true", "FieldsDiffer"), "node.vpn_servers")
	contains(t, m.awaitCondition(ConditionRoutesInstalled, "true", "Installed"), "waits for a repave")
	if got := routes(t); !slices.Equal(got, []string{wantRoute}) {
		t.Errorf("the route changed without an operation: %v", got)
	}
}

func TestRouteComesBack(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	plane.Assign(1, shop())
	plane.Await("ACK", accepted)
	deleteRoute(t, "10.100.0.0/16")
	s := m.await("repair", func(s *localv1.Status) bool { return s.GetNetwork().GetRepairs() == 1 })
	if got := routes(t); !slices.Equal(got, []string{wantRoute}) || s.GetNetwork().GetLastRepairTook().AsDuration() > time.Second {
		t.Errorf("routes %v, repaired in %v", got, s.GetNetwork().GetLastRepairTook().AsDuration())
	}
}

func TestRefusedAssignmentChangesNothing(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	plane.Assign(1, shop())
	plane.Await("ACK", accepted)
	plane.Assign(2, shop(func(a *agentv1.Assignment) { a.HostId, a.Network.VpcCidrs = "other", []string{"fd00::/8"} }))
	result := plane.Await("NACK", func(m *agentv1.AgentMessage) bool { return m.GetAssignmentResult() != nil }).GetAssignmentResult()
	if result.GetAccepted() || len(result.GetRefusals()) != 2 || result.GetGeneration() != 2 {
		t.Errorf("result %v", result)
	}
	s := m.await("refusal", func(s *localv1.Status) bool { return s.GetAssignment().GetRefusedGeneration() == 2 })
	if s.GetAssignment().GetGeneration() != 1 || len(routes(t)) != 1 {
		t.Errorf("the last good assignment must stay in force: %v", s.GetAssignment())
	}
}
