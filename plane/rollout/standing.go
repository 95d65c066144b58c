package rollout

import (
	"fmt"
	"time"

	"hybridagent/plane/fleet"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// hostAt is a host of a pool at one moment: what it said, and what was signed for
// it.
type hostAt struct {
	id     string
	known  bool
	view   fleet.View
	record record
}

// standing is what a repave of a pool would make of a host.
type standing int

const (
	standsDone  standing = iota // nothing is to be done
	standsWaits                 // something is, and cannot be yet
	standsReady                 // its operation can be signed
)

// stands says how a host stands to a repave, and why it is not repaved now. A host
// that waits does not hold up the others.
func (h hostAt) stands(force bool) (standing, string) {
	v, p := h.view, h.record.Pending
	applied := v.Status.GetAppliedNodeDigest()
	accepted := v.Result.GetAccepted() && v.Result.GetGeneration() == v.Generation && v.Status.GetGeneration() == v.Generation
	switch {
	case !h.known:
		return standsWaits, "it has not enrolled yet"
	case v.Status == nil:
		return standsWaits, "it has not reported yet"
	case p != nil && p.kind() == agentv1.OperationKind_OPERATION_KIND_PROVISION:
		return standsDone, "it is being provisioned with what the pool wants"
	case applied == "":
		return standsDone, "it is no node yet; it is provisioned with what the pool wants"
	case moved(&h.record, v):
		return standsWaits, fmt.Sprintf("its node leaves cluster %s first", h.record.Member.Cluster)
	case applied == v.Assignment.GetNodeDigest() && !force:
		return standsDone, "it is what the pool wants"
	case v.Stream == 0:
		return standsWaits, "it is not connected since " + v.Since.UTC().Format(time.RFC3339) + "; it is repaved when it is back"
	case !v.Reported:
		return standsWaits, "it has not reported since it connected"
	case v.Result.GetGeneration() == v.Generation && !v.Result.GetAccepted():
		return standsWaits, fmt.Sprintf("it refuses generation %d of its assignment: %s", v.Generation, firstRefusal(v.Result))
	case !accepted:
		return standsWaits, fmt.Sprintf("it has not taken generation %d of its assignment yet", v.Generation)
	case p != nil:
		return standsWaits, (&BusyError{ID: p.ID, Kind: p.kind(), Since: p.SignedAt}).Error()
	case len(v.Status.GetRepaveFields()) == 0 && !force:
		return standsDone, "it is what the pool wants"
	case repaveIP(v) == "":
		return standsWaits, "it has no node IP; NICSelected of its conditions says why"
	default:
		return standsReady, ""
	}
}

// answers says whether the host is connected and its word on the assignment is to
// come.
func (h hostAt) answers() bool {
	v := h.view
	if v.Stream == 0 {
		return false
	}
	return !v.Reported || v.Result.GetGeneration() != v.Generation || v.Result.GetAccepted() && v.Status.GetGeneration() != v.Generation
}

func firstRefusal(r *agentv1.AssignmentResult) string {
	if len(r.GetRefusals()) == 0 {
		return "no reason given"
	}
	return r.GetRefusals()[0].GetField() + ": " + r.GetRefusals()[0].GetReason()
}

// repaveIP is the address that a repave gives the node.
func repaveIP(v fleet.View) string {
	if ip := v.Status.GetWantedNodeIp(); ip != "" {
		return ip
	}
	return v.Status.GetNodeIp()
}

// drains says whether an operation takes pods off a node: of such a kind there is
// one at a time in a pool.
func drains(k agentv1.OperationKind) bool {
	switch k {
	case agentv1.OperationKind_OPERATION_KIND_REPAVE, agentv1.OperationKind_OPERATION_KIND_RECONFIGURE, agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return true
	default:
		return false
	}
}

// repaves says whether an operation is a host's turn in a rollout.
func repaves(k agentv1.OperationKind) bool {
	return k == agentv1.OperationKind_OPERATION_KIND_REPAVE || k == agentv1.OperationKind_OPERATION_KIND_RECONFIGURE
}
