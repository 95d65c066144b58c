package fleet

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// receive takes one message. What it stores is bounded here: a host decides
// about its own record only, and cannot make it grow without end.
func (f *Fleet) receive(ctx context.Context, h *host, s *session, m *agentv1.AgentMessage) error {
	switch m := m.GetMessage().(type) {
	case *agentv1.AgentMessage_Inventory:
		return f.take(h, boundInventory(m.Inventory), func() bool { return replace(&h.inventory, m.Inventory) })
	case *agentv1.AgentMessage_Status:
		return f.take(h, boundStatus(m.Status), func() bool { return h.takeStatus(m.Status) })
	case *agentv1.AgentMessage_AssignmentResult:
		boundResult(m.AssignmentResult)
		return f.take(h, nil, func() bool { return h.takeResult(m.AssignmentResult) })
	case *agentv1.AgentMessage_Operation:
		boundProgress(m.Operation)
		return f.take(h, nil, func() bool { return h.takeProgress(m.Operation) })
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

// takeStatus answers whether the host's state is news; the first one of a stream
// always is, since it says that the state is no memory.
func (h *host) takeStatus(s *agentv1.HostStatus) bool {
	first := !h.reported
	h.reported = true
	return replace(&h.status, s) || first
}

// takeProgress keeps the ways of an operation apart: a host that is a node, or
// failed to become one, stays so whatever becomes of a live network switch, and an
// abort is not what it ends.
func (h *host) takeProgress(p *agentv1.OperationProgress) bool {
	switch p.GetKind() {
	case agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH:
		return replace(&h.netSwitch, p)
	case agentv1.OperationKind_OPERATION_KIND_ABORT:
		return replace(&h.abort, p)
	default:
		return replace(&h.operation, p)
	}
}

// takeResult answers whether the word on an assignment is news. The same fields
// refused once more in other words are none: they are shown, but a host that
// tries its assignment each second must not write to the disk each second.
func (h *host) takeResult(r *agentv1.AssignmentResult) bool {
	said := h.result
	return replace(&h.result, r) && !sameRefusal(said, r)
}

func sameRefusal(a, b *agentv1.AssignmentResult) bool {
	return a != nil && !a.GetAccepted() && !b.GetAccepted() &&
		a.GetGeneration() == b.GetGeneration() && a.GetDigest() == b.GetDigest() &&
		slices.EqualFunc(a.GetRefusals(), b.GetRefusals(), func(x, y *agentv1.FieldRefusal) bool { return x.GetField() == y.GetField() })
}

func tooMany(what string, n, limit int) error {
	return status.Errorf(codes.InvalidArgument, "%d %s were reported, at most %d are allowed", n, what, limit)
}

func tooLong(what string, n, limit int) error {
	return status.Errorf(codes.InvalidArgument, "%s has %d bytes, at most %d are allowed", what, n, limit)
}
