package fleet

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const (
	maxNICs       = 64
	maxConditions = 32
	maxMACs       = 32
	maxRefusals   = 64
	maxLogLines   = 10
	maxText       = 128
	maxMessage    = 4 << 10
)

// receive takes one message. What it stores is bounded here: a host decides
// about its own record only, and cannot make it grow without end.
func (f *Fleet) receive(ctx context.Context, h *host, s *session, m *agentv1.AgentMessage) error {
	switch m := m.GetMessage().(type) {
	case *agentv1.AgentMessage_Inventory:
		return f.take(h, checkInventory(m.Inventory), func() bool { return replace(&h.inventory, m.Inventory) })
	case *agentv1.AgentMessage_Status:
		return f.take(h, checkStatus(m.Status), func() bool { return replace(&h.status, m.Status) })
	case *agentv1.AgentMessage_AssignmentResult:
		return f.take(h, checkResult(m.AssignmentResult), func() bool { return replace(&h.result, m.AssignmentResult) })
	case *agentv1.AgentMessage_Operation:
		return f.take(h, checkProgress(m.Operation), func() bool { return replace(&h.operation, m.Operation) })
	case *agentv1.AgentMessage_NodeCertificateRequest:
		s.answer(f.nodeCertificate(ctx, h, m.NodeCertificateRequest))
		return nil
	case *agentv1.AgentMessage_Hello:
		return status.Error(codes.InvalidArgument, "a stream has one hello only")
	default:
		return nil // of a newer agent
	}
}

// take stores what was checked and, when it is news, has it written and looked
// at.
func (f *Fleet) take(h *host, checked error, set func() bool) error {
	if checked != nil {
		return checked
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if set() {
		f.unsaved.add(h.id)
		f.changed.add(h.id)
	}
	return nil
}

func tooMany(what string, n, limit int) error {
	return status.Errorf(codes.InvalidArgument, "%d %s were reported, at most %d are allowed", n, what, limit)
}

func tooLong(what string, n, limit int) error {
	return status.Errorf(codes.InvalidArgument, "%s has %d bytes, at most %d are allowed", what, n, limit)
}

func checkFingerprint(fp *agentv1.HardwareFingerprint) error {
	if n := len(fp.GetMacs()); n > maxMACs {
		return tooMany("MAC addresses", n, maxMACs)
	}
	for _, text := range append([]string{fp.GetProductUuid(), fp.GetMachineIdHash()}, fp.GetMacs()...) {
		if len(text) > maxText {
			return tooLong("a field of the fingerprint", len(text), maxText)
		}
	}
	return nil
}

func checkInventory(inv *agentv1.Inventory) error {
	if n := len(inv.GetNics()); n > maxNICs {
		return tooMany("NICs", n, maxNICs)
	}
	return nil
}

func checkStatus(s *agentv1.HostStatus) error {
	if n := len(s.GetConditions()); n > maxConditions {
		return tooMany("conditions", n, maxConditions)
	}
	for _, c := range s.GetConditions() {
		if n := len(c.GetMessage()); n > maxMessage {
			return tooLong("message of condition "+c.GetType(), n, maxMessage)
		}
	}
	return nil
}

func checkResult(r *agentv1.AssignmentResult) error {
	if n := len(r.GetRefusals()); n > maxRefusals {
		return tooMany("refusals", n, maxRefusals)
	}
	return nil
}

func checkProgress(p *agentv1.OperationProgress) error {
	if n := len(p.GetLogLines()); n > maxLogLines {
		return tooMany("log lines", n, maxLogLines)
	}
	if n := len(p.GetMessage()); n > maxMessage {
		return tooLong("the operation's message", n, maxMessage)
	}
	return nil
}
