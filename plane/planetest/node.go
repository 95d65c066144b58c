package planetest

import (
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// End is how a played node ends an operation.
type End int

// The ends.
const (
	// EndWell succeeds.
	EndWell End = iota
	// EndBadly fails in the middle and goes back to the former version.
	EndBadly
	// EndRefused is a refusal before the first step.
	EndRefused
	// EndNever runs until it is aborted.
	EndNever
	// EndSilent says nothing, as a host does that cannot read the operation.
	EndSilent
)

// Node plays a host that becomes a node, is repaved and leaves, over a real stream.
type Node struct {
	*Host
	t      testing.TB
	behave func(op *agentv1.Operation) End

	mu      sync.Mutex
	stream  *Stream
	update  *agentv1.AssignmentUpdate
	wanted  *agentv1.Assignment
	applied *agentv1.Operation // whose node part is in force; nil: no node
	runs    *agentv1.Operation
	last    *agentv1.OperationProgress
	ops     []*agentv1.Operation
	retries int
}

// Play connects an enrolled host and has it behave by itself until the test ends:
// it takes every assignment, and ends operations as behave says; nil: well.
func (h *Host) Play(behave func(op *agentv1.Operation) End) *Node {
	h.t.Helper()
	if behave == nil {
		behave = func(*agentv1.Operation) End { return EndWell }
	}
	n := &Node{Host: h, t: h.t, behave: behave}
	n.Connect()
	return n
}

// Connect opens a stream; whatever the node has, it holds on to.
func (n *Node) Connect() {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	s, err := n.TryConnect(&agentv1.Hello{HostId: n.ID, AgentVersion: "v0", Fingerprint: n.Fingerprint, Generation: n.update.GetGeneration(), Digest: n.update.GetDigest()})
	if err != nil {
		n.t.Error(err)
		return
	}
	n.stream = s
	n.report()
	if n.last != nil {
		n.say(n.last)
	}
	go n.follow(s)
}

// Disconnect ends the stream; an operation goes on.
func (n *Node) Disconnect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stream.Close()
}

// Behave changes how operations end from now on.
func (n *Node) Behave(behave func(op *agentv1.Operation) End) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.behave = behave
}

// Operations are those that came, in order, each once.
func (n *Node) Operations() []*agentv1.Operation {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*agentv1.Operation(nil), n.ops...)
}

// Retries is how often an assignment came that was to be tried once more.
func (n *Node) Retries() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.retries
}

// Finish ends the operation that runs.
func (n *Node) Finish(end End) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.runs != nil {
		n.end(n.runs, end)
	}
}

// Running is the ID of the operation that runs; empty: none.
func (n *Node) Running() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runs.GetId()
}

func (n *Node) follow(s *Stream) {
	for m := range s.in {
		n.mu.Lock()
		if n.stream == s {
			n.take(m)
		}
		n.mu.Unlock()
	}
}

func (n *Node) take(m *agentv1.PlaneMessage) {
	switch {
	case m.GetAssignment() != nil:
		a := &agentv1.Assignment{}
		if err := proto.Unmarshal(m.GetAssignment().GetAssignment(), a); err != nil {
			n.t.Error(err)
			return
		}
		if m.GetAssignment().GetRetry() {
			n.retries++
		}
		n.update, n.wanted = m.GetAssignment(), a
		n.report()
	case m.GetOperation() != nil:
		op := &agentv1.Operation{}
		if err := proto.Unmarshal(m.GetOperation().GetOperation(), op); err != nil {
			n.t.Error(err)
			return
		}
		n.operate(op)
	}
}

// operate does as root does: what it knows it answers, one at a time, and never one
// that is older than the last.
func (n *Node) operate(op *agentv1.Operation) {
	if n.last.GetOperationId() == op.GetId() {
		n.say(n.last)
		return
	}
	if k := len(n.ops); k > 0 && op.GetSequence().GetCounter() <= n.ops[k-1].GetSequence().GetCounter() {
		n.refuse(op, "stale sequence")
		return
	}
	n.ops = append(n.ops, op)
	if op.GetKind() == agentv1.OperationKind_OPERATION_KIND_ABORT {
		n.abort(op)
		return
	}
	end := n.behave(op)
	switch {
	case end == EndSilent:
	case n.runs != nil:
		n.refuse(op, "another operation runs")
	case end == EndRefused:
		n.refuse(op, "it was refused")
	default:
		n.runs = op
		n.last = &agentv1.OperationProgress{OperationId: op.GetId(), Kind: op.GetKind(), State: agentv1.OperationState_OPERATION_STATE_RUNNING,
			Step: "drain", Percent: 40, Message: "evicts pods", NodeDigest: op.GetNodeDigest(), Abortable: true}
		n.say(n.last)
		if end != EndNever {
			n.end(op, end)
		}
	}
}

func (n *Node) abort(op *agentv1.Operation) {
	if n.runs.GetId() != op.GetAbort().GetOperationId() || n.runs == nil {
		n.refuse(op, "there is no such operation")
		return
	}
	n.say(&agentv1.OperationProgress{OperationId: op.GetId(), Kind: op.GetKind(), State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED})
	n.conclude(agentv1.OperationState_OPERATION_STATE_ABORTED, "aborted; what was changed is taken back")
}

func (n *Node) refuse(op *agentv1.Operation, why string) {
	p := &agentv1.OperationProgress{OperationId: op.GetId(), Kind: op.GetKind(), State: agentv1.OperationState_OPERATION_STATE_REFUSED, Message: why, NodeDigest: op.GetNodeDigest()}
	if n.runs == nil && op.GetKind() != agentv1.OperationKind_OPERATION_KIND_ABORT {
		n.last = p
	}
	n.say(p)
}

func (n *Node) end(op *agentv1.Operation, end End) {
	if end != EndWell {
		n.conclude(agentv1.OperationState_OPERATION_STATE_FAILED, "10 pods could not be evicted; the node is as it was")
		return
	}
	n.applied = op
	if op.GetKind() == agentv1.OperationKind_OPERATION_KIND_LEAVE {
		n.applied = nil
	}
	n.conclude(agentv1.OperationState_OPERATION_STATE_SUCCEEDED, "")
}

func (n *Node) conclude(state agentv1.OperationState, words string) {
	p := proto.CloneOf(n.last)
	p.State, p.Message, p.Abortable = state, words, false
	if state == agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		p.Step, p.Percent = "confirm", 100
	}
	n.runs, n.last = nil, p
	n.report()
	n.say(p)
}

// report tells the host's state as an agent does.
func (n *Node) report() {
	if u := n.update; u != nil {
		n.stream.play(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: &agentv1.AssignmentResult{
			Generation: u.GetGeneration(), Digest: u.GetDigest(), Accepted: true,
		}}})
	}
	n.stream.play(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Status{Status: n.status()}})
}

func (n *Node) status() *agentv1.HostStatus {
	s := &agentv1.HostStatus{Generation: n.update.GetGeneration(), Nic: "lan0", NodeIp: "10.200.0.11"}
	if n.applied == nil {
		s.ReadyToProvision = n.wanted.GetPool() != ""
		return s
	}
	s.AppliedNodeDigest, s.AppliedKubernetesVersion = n.applied.GetNodeDigest(), n.applied.GetNode().GetKubernetesVersion()
	s.Conditions = []*agentv1.Condition{{Type: "NodeReady", Status: agentv1.ConditionStatus_CONDITION_STATUS_TRUE, Reason: "Ready", Message: "ready"}}
	if n.wanted.GetPool() == "" || s.GetAppliedNodeDigest() == n.wanted.GetNodeDigest() {
		return s
	}
	was, is := n.applied.GetNode().GetKubernetesVersion(), n.wanted.GetNode().GetKubernetesVersion()
	s.RepaveFields = []string{"node"}
	s.Forecast = &agentv1.Forecast{Path: "init", Reasons: []string{"kubelet's configuration differs"}, NodeDigest: n.wanted.GetNodeDigest()}
	if was != is {
		s.RepaveFields = []string{"node.kubernetes_version"}
		s.Forecast.Path, s.Forecast.FetchBytes = "upgrade", 170<<20
		s.Forecast.Reasons = []string{strings.Join([]string{"Kubernetes", was, "becomes", is}, " ")}
	}
	return s
}

func (n *Node) say(p *agentv1.OperationProgress) {
	n.stream.play(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Operation{Operation: p}})
}
