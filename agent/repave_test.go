package agent

import (
	"strings"
	"testing"

	"hybridagent/agent/internal/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// repaveTo is a repave to what through makes of these VPN servers, under a digest of
// that letter.
func repaveTo(letter string, counter uint64, servers ...string) *agentv1.Operation {
	op := provision(letter)
	op.Kind, op.Sequence = agentv1.OperationKind_OPERATION_KIND_REPAVE, &agentv1.Sequence{Epoch: 1, Counter: counter}
	op.Node, op.NodeDigest = through(servers...).GetNode(), strings.Repeat(letter, 64)
	return op
}

// assigned is the assignment of a repave.
func assigned(op *agentv1.Operation) *agentv1.Assignment {
	a := through(op.GetNode().GetVpnServers()...)
	a.Node, a.NodeDigest = op.GetNode(), op.GetNodeDigest()
	return a
}

// nodeOnSite is a settled site whose host is a node, for which the plane wants
// another network by a repave.
func nodeOnSite(t *testing.T, op *agentv1.Operation) (*planetest.Plane, *machine) {
	t.Helper()
	plane, m := settledSite(t)
	made := provisioning()
	send(plane, made)
	plane.Await("node", ended(made))
	m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
	m.want(plane, 2, op)
	return plane, m
}

// want has the plane assign what a repave brings; nothing of it is in force yet.
func (m *machine) want(plane *planetest.Plane, generation uint64, op *agentv1.Operation) {
	m.t.Helper()
	plane.Assign(generation, assigned(op))
	plane.Await("ACK", answered(generation))
	m.awaitCondition(ConditionRepaveRequired, "true", "FieldsDiffer")
	m.inKernel(viaFormer)
}

// TestRepaveBringsItsNetwork: on trial first, and only then does root hear of it.
func TestRepaveBringsItsNetwork(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	op := repaveTo("b", 2, "10.200.0.4")
	plane, m := nodeOnSite(t, op)
	asked := m.door.count()
	m.door.onSubmit = func() { m.inKernel(viaOther) }
	send(plane, op)
	if end := plane.Await("end", ended(op)).GetOperation(); !succeeded(end) || m.door.count() != asked+1 {
		t.Fatalf("ended %v after root was asked %d times", end, m.door.count()-asked)
	}
	m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
	m.inKernel(viaOther)
	m.restartsWith(plane, viaOther)
}

// TestRepaveThatFailsReturnsTheNetwork: root has gone back to the former node part.
func TestRepaveThatFailsReturnsTheNetwork(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	op := repaveTo("b", 2, "10.200.0.4")
	plane, m := nodeOnSite(t, op)
	m.door.onSubmit = func() { m.inKernel(viaOther) }
	m.door.failing(true)
	send(plane, op)
	if end := plane.Await("end", ended(op)).GetOperation(); end.GetState() != agentv1.OperationState_OPERATION_STATE_FAILED {
		t.Fatalf("ended %v", end)
	}
	m.awaitRoutes(viaFormer)
	m.awaitCondition(ConditionRepaveRequired, "true", "FieldsDiffer")
	m.restartsWith(plane, viaFormer)
}

// TestRepaveIntoABlackHole never reaches root.
func TestRepaveIntoABlackHole(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	op := repaveTo("b", 2, "10.200.0.3")
	plane, m := nodeOnSite(t, op)
	asked := m.door.count()
	send(plane, op)
	end := plane.Await("end", ended(op)).GetOperation()
	if end.GetState() != agentv1.OperationState_OPERATION_STATE_FAILED || end.GetStep() != networkStep || m.door.count() != asked {
		t.Errorf("ended %v after root was asked %d times", end, m.door.count()-asked)
	}
	contains(t, end.GetMessage(), "rolled back", "the node was not touched")
	m.inKernel(viaFormer)
}

// TestRepaveAbortedDuringItsTrial ends at once, with the former network.
func TestRepaveAbortedDuringItsTrial(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	op := repaveTo("b", 2, "10.200.0.3")
	plane, m := nodeOnSite(t, op)
	asked := m.door.count()
	send(plane, op)
	m.await("trial", onTrial)
	m.inKernel(viaHole)
	send(plane, &agentv1.Operation{
		Id: strings.Repeat("z", 26), HostId: testHost, Kind: agentv1.OperationKind_OPERATION_KIND_ABORT,
		Sequence: &agentv1.Sequence{Epoch: 1, Counter: 3}, Abort: &agentv1.AbortOrder{OperationId: op.GetId()},
	})
	plane.Await("the abort's own end", func(m *agentv1.AgentMessage) bool {
		p := m.GetOperation()
		return p.GetKind() == agentv1.OperationKind_OPERATION_KIND_ABORT && succeeded(p)
	})
	end := plane.Await("end", ended(op)).GetOperation()
	if end.GetState() != agentv1.OperationState_OPERATION_STATE_ABORTED || m.door.count() != asked {
		t.Errorf("ended %v after root was asked %d times", end, m.door.count()-asked)
	}
	m.inKernel(viaFormer)
	m.awaitCondition(ConditionOperationRunning, "false", "Aborted")
}

// TestRepaveMeetsARestart: the daemon ends while root works, and finds out afterwards
// that root has failed.
func TestRepaveMeetsARestart(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	op := repaveTo("b", 2, "10.200.0.4")
	plane, m := nodeOnSite(t, op)
	begun := make(chan struct{})
	m.door.onSubmit = func() { close(begun) }
	m.door.failing(true)
	m.door.holding(true)
	send(plane, op)
	<-begun
	m.stop()
	m.door.holding(false)
	m.start()
	m.awaitRoutes(viaFormer)
	m.awaitCondition(ConditionOperationRunning, "false", "Failed")
}

// TestLeaveTakesTheRoutes: the node's network stays while it leaves, out of every
// pool, and goes with the node.
func TestLeaveTakesTheRoutes(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := settledSite(t)
	made := provisioning()
	send(plane, made)
	plane.Await("node", ended(made))
	m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
	plane.Assign(2, &agentv1.Assignment{HostId: testHost})
	plane.Await("ACK", answered(2))
	m.inKernel(viaFormer)
	leave := provision("l")
	leave.Kind, leave.Sequence = agentv1.OperationKind_OPERATION_KIND_LEAVE, &agentv1.Sequence{Epoch: 1, Counter: 2}
	leave.Node, leave.NodeDigest, leave.NodeIp = nil, "", ""
	m.door.onSubmit = func() { m.inKernel(viaFormer) }
	send(plane, leave)
	if end := plane.Await("end", ended(leave)).GetOperation(); !succeeded(end) {
		t.Fatalf("ended %v", end)
	}
	m.awaitRoutes("")
	m.awaitCondition(ConditionNodeReady, "unknown", "NotInPool")
	m.stop()
	m.start()
	m.await("status", func(s *localv1.Status) bool { return s.GetNode() != nil })
	m.awaitRoutes("")
}

// TestNetworkWaitsForRoot: what root is busy with may need the route as it is.
func TestNetworkWaitsForRoot(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	op := repaveTo("b", 2, "10.200.0.4")
	plane, m := nodeOnSite(t, op)
	asked := m.door.count()
	before := m.door.lasting(&agentv1.OperationProgress{OperationId: "local", State: agentv1.OperationState_OPERATION_STATE_RUNNING, Step: "drain"})
	send(plane, op)
	m.await("waiting", func(s *localv1.Status) bool {
		return strings.Contains(conditionOf(s, ConditionOperationRunning).GetMessage(), "operation local runs on this host")
	})
	m.inKernel(viaFormer)
	if s := m.status(); onTrial(s) || m.door.count() != asked {
		t.Errorf("network %v, root was asked %d times", s.GetNetwork(), m.door.count()-asked)
	}
	m.door.lasting(before)
	if end := plane.Await("end", ended(op)).GetOperation(); !succeeded(end) {
		t.Errorf("ended %v", end)
	}
	m.inKernel(viaOther)
}

// TestNextOperationTakesTheNetworkOver: the plane replaces an operation that has moved
// the network and that root never began, while the daemon is away.
func TestNextOperationTakesTheNetworkOver(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	first, second := repaveTo("b", 2, "10.200.0.4"), repaveTo("c", 3, "10.200.0.4")
	plane, m := nodeOnSite(t, first)
	m.rootRefuses(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY)
	send(plane, first)
	m.awaitRoutes(viaOther)
	m.stop()
	m.rootTakes()
	m.door.onSubmit = func() { m.inKernel(viaOther) }
	m.start()
	m.awaitCondition(ConditionRegistered, "true", "Connected")
	plane.Assign(3, assigned(second))
	plane.Await("ACK", answered(3))
	send(plane, second)
	if end := plane.Await("end", ended(second)).GetOperation(); !succeeded(end) {
		t.Fatalf("ended %v", end)
	}
	m.awaitCondition(ConditionRepaveRequired, "false", "UpToDate")
	m.inKernel(viaOther)
	m.await("a record without a way back", func(*localv1.Status) bool {
		record, err := cache{dir: m.cfg.Paths.State}.loadNetwork()
		return err == nil && record != nil && record.Moved == nil
	})
	m.restartsWith(plane, viaOther)
}
