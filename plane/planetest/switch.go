package planetest

import (
	"testing"

	"google.golang.org/protobuf/proto"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const liveSwitch = agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH

// DecodeOperation decodes an envelope without checking it.
func DecodeOperation(t testing.TB, env *agentv1.SignedOperation) *agentv1.Operation {
	t.Helper()
	op := &agentv1.Operation{}
	if err := proto.Unmarshal(env.GetOperation(), op); err != nil {
		t.Fatal(err)
	}
	return op
}

// Switch answers the next message, which must be a live network switch.
func (s *Stream) Switch() *agentv1.Operation {
	s.t.Helper()
	op := DecodeOperation(s.t, s.Operation())
	if op.GetKind() != liveSwitch {
		s.t.Fatalf("want a live network switch, got %v", op)
	}
	return op
}

// AnswerSwitch reports how far a live network switch is.
func (s *Stream) AnswerSwitch(op *agentv1.Operation, state agentv1.OperationState, message string) {
	s.t.Helper()
	s.Progress(switchProgress(op, state, message))
}

func switchProgress(op *agentv1.Operation, state agentv1.OperationState, message string) *agentv1.OperationProgress {
	p := &agentv1.OperationProgress{OperationId: op.GetId(), Kind: liveSwitch, State: state, Step: "trial", Percent: 40, Message: message}
	if state == agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		p.Step, p.Percent = "confirm", 100
	}
	return p
}

// Answer is how a played host ends a live network switch; nil: it says nothing.
type Answer func(op *agentv1.Operation) *agentv1.OperationProgress

// Succeed ends every switch well.
func Succeed(op *agentv1.Operation) *agentv1.OperationProgress {
	return switchProgress(op, agentv1.OperationState_OPERATION_STATE_SUCCEEDED, "the VPC answers through the new network")
}

// GoBack ends every switch with the former network, for a reason.
func GoBack(reason string) Answer {
	return func(op *agentv1.Operation) *agentv1.OperationProgress {
		return switchProgress(op, agentv1.OperationState_OPERATION_STATE_FAILED, reason)
	}
}

// Play has the host behave by itself, until the stream ends: it takes every
// assignment, says of each live network switch that it runs, and ends it as the
// answer says. base is the status that it reports, with the network filled in.
func (s *Stream) Play(base *agentv1.HostStatus, answer Answer) {
	go func() {
		servers := base.GetVpnServers()
		for m := range s.in {
			switch {
			case m.GetAssignment() != nil:
				u := m.GetAssignment()
				a := &agentv1.Assignment{}
				if err := proto.Unmarshal(u.GetAssignment(), a); err != nil {
					return
				}
				servers = a.GetNetwork().GetVpnServers()
				s.play(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: &agentv1.AssignmentResult{
					Generation: u.GetGeneration(), Digest: u.GetDigest(), Accepted: true,
				}}})
				base = proto.CloneOf(base)
				base.Generation = u.GetGeneration()
			case m.GetOperation() != nil:
				op := &agentv1.Operation{}
				if err := proto.Unmarshal(m.GetOperation().GetOperation(), op); err != nil || op.GetKind() != liveSwitch {
					continue
				}
				servers = s.playSwitch(op, answer, servers)
			}
			st := proto.CloneOf(base)
			st.VpnServers = servers
			if len(servers) > 0 {
				st.VpnServer = servers[0]
			}
			s.play(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Status{Status: st}})
		}
	}()
}

// playSwitch answers the VPN servers that the host has afterwards.
func (s *Stream) playSwitch(op *agentv1.Operation, answer Answer, former []string) []string {
	report := func(p *agentv1.OperationProgress) {
		s.play(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Operation{Operation: p}})
	}
	report(switchProgress(op, agentv1.OperationState_OPERATION_STATE_RUNNING, "measures"))
	if answer == nil {
		return former
	}
	end := answer(op)
	report(end)
	if end.GetState() == agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		return op.GetNetworkSwitch().GetVpnServers()
	}
	return former
}

// play sends, and leaves the end of the stream to whoever receives.
func (s *Stream) play(m *agentv1.AgentMessage) { _ = s.stream.Send(m) }
