package agent

import (
	"strings"
	"testing"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// liveSwitchTo is a live switch whose ID is a letter many times over.
func liveSwitchTo(letter string, counter uint64, servers ...string) *agentv1.Operation {
	return &agentv1.Operation{
		Id: strings.Repeat(letter, 26), HostId: testHost, Kind: liveSwitch,
		Sequence: &agentv1.Sequence{Epoch: 1, Counter: counter}, NetworkSwitch: &agentv1.NetworkSwitch{VpnServers: servers},
	}
}

// ended accepts the end of an operation.
func ended(op *agentv1.Operation) func(*agentv1.AgentMessage) bool {
	return func(m *agentv1.AgentMessage) bool {
		p := m.GetOperation()
		return p.GetOperationId() == op.GetId() && p.GetState() > agentv1.OperationState_OPERATION_STATE_RUNNING
	}
}

// TestLiveSwitch: another VPN server, on a node, without a repave.
func TestLiveSwitch(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	order := func(op *agentv1.Operation) *agentv1.OperationProgress {
		t.Helper()
		plane.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Operation{Operation: plane.Sign(op)}})
		return plane.Await("end of the switch", ended(op)).GetOperation()
	}
	made := provision("p")
	made.Node, made.NodeDigest = through("10.200.0.2").GetNode(), through("10.200.0.2").GetNodeDigest()
	if p := order(made); !succeeded(p) {
		t.Fatalf("provision: %v", p)
	}
	m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
	submits := m.door.count()

	if p := order(liveSwitchTo("a", 2, "10.200.0.3")); p.GetState() != agentv1.OperationState_OPERATION_STATE_FAILED {
		t.Fatalf("a black hole: %v", p)
	} else {
		contains(t, p.GetMessage(), "rolled back", "former network")
	}
	m.inKernel(viaFormer)
	if _, err := m.local().RetryNetwork(t.Context(), &localv1.RetryNetworkRequest{}); err == nil || !strings.Contains(err.Error(), "set-vpn") {
		t.Errorf("a live switch is repeated by the host: %v", err)
	}
	if p := order(liveSwitchTo("b", 3, "10.200.0.4")); !succeeded(p) {
		t.Fatalf("a good one: %v", p)
	}
	m.inKernel(viaOther)
	if m.door.count() != submits {
		t.Error("a live switch has reached root")
	}
	if p := order(liveSwitchTo("c", 3, "10.200.0.2")); p.GetState() != agentv1.OperationState_OPERATION_STATE_REFUSED {
		t.Errorf("an old sequence: %v", p)
	}
	if p := order(liveSwitchTo("b", 3, "10.200.0.4")); !succeeded(p) {
		t.Errorf("the same once more: %v", p)
	}
	if p := order(liveSwitchTo("d", 4, "10.9.9.9")); p.GetState() != agentv1.OperationState_OPERATION_STATE_REFUSED {
		t.Errorf("a server that is not on-link: %v", p)
	} else {
		contains(t, p.GetMessage(), "not on-link")
	}

	// The plane takes it into the pool: nothing to repave, nothing to try.
	plane.Assign(2, shop(func(a *agentv1.Assignment) {
		a.Probes.ApiEndpoint = "10.100.0.10:443"
		a.Network = through("10.200.0.4").GetNetwork()
		a.Node, a.NodeDigest = through("10.200.0.4").GetNode(), strings.Repeat("b", 64)
	}))
	if !plane.Await("ACK", answered(2)).GetAssignmentResult().GetAccepted() {
		t.Error("refused")
	}
	m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
	m.inKernel(viaOther)
	m.restartsWith(plane, viaOther)
	m.await("no repave", func(s *localv1.Status) bool {
		return conditionOf(s, ConditionRepaveRequired).GetReason() == "UpToDate"
	})

	// Something else changes that no field of the node part shows.
	plane.Start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	plane.Assign(3, shop(func(a *agentv1.Assignment) {
		a.Network, a.Node, a.NodeDigest = through("10.200.0.4").GetNetwork(), through("10.200.0.4").GetNode(), strings.Repeat("c", 64)
	}))
	plane.Await("ACK", answered(3))
	m.awaitCondition(ConditionRepaveRequired, "true", "FieldsDiffer")
}
