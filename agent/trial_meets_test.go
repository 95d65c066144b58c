package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"hybridagent/agent/internal/planetest"
	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// What a trial meets on its way: other assignments, operations, NICs.

func send(plane *planetest.Plane, op *agentv1.Operation) {
	plane.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Operation{Operation: plane.Sign(op)}})
}

// rootRefuses makes root refuse operations for that reason.
func (m *machine) rootRefuses(reason agentv1.DoorRefusalReason) {
	m.door.mu.Lock()
	defer m.door.mu.Unlock()
	m.door.submitErr = operation.Refuse(reason, "not now")
}

// rootTakes has root take operations again.
func (m *machine) rootTakes() {
	m.door.mu.Lock()
	defer m.door.mu.Unlock()
	m.door.submitErr = nil
}

// provisioning is an operation that makes a node of the settled site.
func provisioning() *agentv1.Operation {
	op := provision("p")
	op.Node, op.NodeDigest = through("10.200.0.2").GetNode(), through("10.200.0.2").GetNodeDigest()
	return op
}

// TestSwitchEndsWithItsNetwork: an operator goes back to the first VPN server by the
// pool; the live switch from before must not come again.
func TestSwitchEndsWithItsNetwork(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	op := liveSwitchTo("a", 2, "10.200.0.4")
	send(plane, op)
	plane.Await("end", ended(op))
	m.inKernel(viaOther)
	m.awaitCondition(ConditionPathHealthy, "true", "Healthy")
	plane.Assign(2, through("10.200.0.4"))
	plane.Await("ACK", answered(2))
	plane.Assign(3, through("10.200.0.2"))
	if !plane.Await("ACK", answered(3)).GetAssignmentResult().GetAccepted() {
		t.Error("refused")
	}
	m.inKernel(viaFormer)
}

// TestAssignmentDuringAFailedOperation is tried when the operation has ended.
func TestAssignmentDuringAFailedOperation(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	m.rootRefuses(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY)
	op := provisioning()
	send(plane, op)
	m.await("operation", func(*localv1.Status) bool { return m.door.count() > 0 })
	plane.Assign(2, through("10.200.0.4"))
	plane.Await("ACK", answered(2))
	m.inKernel(viaFormer)
	m.rootRefuses(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED)
	plane.Await("end", ended(op))
	m.awaitRoutes(viaOther)
}

// TestLeavingAPoolDuringAFailedOperation: the routes go when the operation has ended.
func TestLeavingAPoolDuringAFailedOperation(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	m.rootRefuses(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY)
	op := provisioning()
	send(plane, op)
	m.await("operation", func(*localv1.Status) bool { return m.door.count() > 0 })
	plane.Assign(2, &agentv1.Assignment{HostId: testHost})
	plane.Await("ACK", answered(2))
	m.inKernel(viaFormer)
	m.rootRefuses(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED)
	plane.Await("end", ended(op))
	m.awaitRoutes("")
}

// TestOperationWaitsForATrial: root begins with nothing while the network may change.
func TestOperationWaitsForATrial(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	plane.Mute.Store(true)
	plane.Assign(2, through("10.200.0.4"))
	m.await("trial", onTrial)
	op := provisioning()
	send(plane, op)
	m.await("waiting", func(s *localv1.Status) bool {
		return strings.Contains(conditionOf(s, ConditionOperationRunning).GetMessage(), "on trial until")
	})
	if m.door.count() != 0 {
		t.Error("root was asked during a trial")
	}
	_, err := m.local().RollbackNetwork(t.Context(), &localv1.RollbackNetworkRequest{})
	ok(t, err)
	if end := plane.Await("end", ended(op)).GetOperation(); !succeeded(end) {
		t.Errorf("ended %v", end)
	}
	m.inKernel(viaFormer)
}

// TestFirstTrialReplacedByAnother: neither is told to be in force before its time.
func TestFirstTrialReplacedByAnother(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	site(t)
	router(t)
	plane := planetest.New(t)
	plane.Start()
	m := newMachine(t, plane)
	m.cfg.Network.TrialTimeout = testTrial
	m.start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	plane.Mute.Store(true)
	plane.Assign(1, through("10.200.0.2"))
	m.await("trial", onTrial)
	plane.Assign(2, through("10.200.0.4"))
	s := m.await("second trial", func(s *localv1.Status) bool { return s.GetNetwork().GetTrial().GetOrigin() == "assignment 2" })
	if told := s.GetAssignment().GetGeneration(); told != 0 {
		t.Errorf("generation %d is told, which was never accepted", told)
	}
	plane.Mute.Store(false)
	if !plane.Await("ACK", answered(2)).GetAssignmentResult().GetAccepted() {
		t.Error("refused")
	}
	m.inKernel(viaOther)
}

// TestAnotherVPCIsJudgedByItsOwnEndpoint: that the former one still answers, by
// whatever way, says nothing.
func TestAnotherVPCIsJudgedByItsOwnEndpoint(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	plane.Assign(2, shop(func(a *agentv1.Assignment) {
		a.Network.VpcCidrs, a.Node.VpcCidrs = []string{"10.101.0.0/16"}, []string{"10.101.0.0/16"}
		a.Network.VpnServers, a.Node.VpnServers = []string{"10.200.0.3"}, []string{"10.200.0.3"}
		a.Probes.ApiEndpoint = "10.101.0.10:443"
	}))
	if result := plane.Await("NACK", answered(2)).GetAssignmentResult(); result.GetAccepted() {
		t.Error("a black hole is accepted")
	}
	m.inKernel(viaFormer)
}

// TestTrialsRoutesGoWhereTheFormerCannotReturn: the NIC of the former network has
// lost its address meanwhile.
func TestTrialsRoutesGoWhereTheFormerCannotReturn(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	addNIC(t, "lan1", "10.201.0.11/24")
	plane.Mute.Store(true)
	plane.Assign(2, shop(func(a *agentv1.Assignment) {
		a.Network.VpnServers, a.Node.VpnServers = []string{"10.201.0.2"}, []string{"10.201.0.2"}
		a.Network.RemoteNodeCidrs, a.Node.RemoteNodeCidrs = []string{"10.200.0.0/15"}, []string{"10.200.0.0/15"}
		a.Probes.ApiEndpoint = "10.100.0.10:443"
	}))
	m.await("trial", onTrial)
	lan := must(netlink.LinkByName("lan0"))(t)
	ok(t, netlink.AddrDel(lan, must(netlink.ParseAddr("10.200.0.11/24"))(t)))
	_, err := m.local().RollbackNetwork(t.Context(), &localv1.RollbackNetworkRequest{})
	ok(t, err)
	m.awaitRoutes("")
	ok(t, netlink.AddrAdd(lan, must(netlink.ParseAddr("10.200.0.11/24"))(t)))
	m.awaitRoutes(viaFormer)
}

// TestCutOffTrialForgetsItsNIC: the former network returns on the NIC that it had.
func TestCutOffTrialForgetsItsNIC(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	site(t)
	router(t)
	plane := planetest.New(t)
	plane.Start()
	m := newMachine(t, plane)
	_, kill := m.process("")
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	plane.Assign(1, through("10.200.0.2"))
	plane.Await("ACK", answered(1))
	kill()
	addNIC(t, "lan1", "10.200.0.12/24")
	gone, _ := m.process("in-kernel")
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	m.awaitCondition(ConditionPathHealthy, "true", "Healthy")
	next := through("10.200.0.2")
	next.Network.Nic = &agentv1.NICSelector{Name: "lan1"}
	next.Node.Nic = next.Network.Nic
	plane.Assign(2, next)
	<-gone
	plane.Stop()
	for range routes(t) {
		deleteRoute(t, "10.100.0.0/16")
	}
	m.process("")
	m.awaitRoutes(viaFormer)
}

// TestNodeKeepsItsNetworkWhereItsMemoryIsLost: the files that say what the node was
// made from are damaged, and the plane wants another network, which waits for a repave.
func TestNodeKeepsItsNetworkWhereItsMemoryIsLost(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	send(plane, provisioning())
	plane.Await("success", func(m *agentv1.AgentMessage) bool { return succeeded(m.GetOperation()) })
	m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
	other := through("10.200.0.4")
	other.NodeDigest = strings.Repeat("b", 64)
	plane.Assign(2, other)
	plane.Await("ACK", answered(2))
	m.stop()
	for _, name := range []string{ProvisionedFile, pendingFile} {
		ok(t, os.WriteFile(filepath.Join(m.cfg.Paths.State, name), nil, 0o600))
	}
	m.start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	m.awaitCondition(ConditionPathHealthy, "true", "Healthy")
	plane.Assign(3, other)
	plane.Await("ACK", answered(3))
	m.awaitCondition(ConditionRepaveRequired, "true", "FieldsDiffer")
	if s := m.status(); onTrial(s) {
		t.Errorf("a node's network is on trial without an operation: %v", s.GetNetwork().GetTrial())
	}
	m.inKernel(viaFormer)
}

// TestCutOffTrialForgetsItsServer: the server under trial is a standby of the former
// network, and its routes are still in the kernel.
func TestCutOffTrialForgetsItsServer(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	site(t)
	router(t)
	plane := planetest.New(t)
	plane.Start()
	m := newMachine(t, plane)
	_, kill := m.process("")
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	plane.Assign(1, through("10.200.0.2", "10.200.0.3"))
	plane.Await("ACK", answered(1))
	kill()
	gone, _ := m.process("in-kernel")
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	m.awaitCondition(ConditionPathHealthy, "true", "Healthy")
	plane.Assign(2, through("10.200.0.3"))
	<-gone
	plane.Stop()
	m.process("")
	m.await("the former server", func(s *localv1.Status) bool { return s.GetNetwork().GetVpnServer() != "" })
	m.inKernel(viaFormer)
}
