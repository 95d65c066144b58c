package operation

import (
	"regexp"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// idPattern is the form of an operation's ID. The ID becomes part of file and
// unit names, so nothing else passes, signed or not.
var idPattern = regexp.MustCompile(`^[0-9a-z]{26}$`)

// digestPattern is the form of a node digest.
var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ValidID reports whether a text can be an operation's ID.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// validate checks an operation's fields; network says that live network switches
// are taken here. What a kind has no use for must not be there: the plane that
// signed it meant something that would not happen.
func validate(op *agentv1.Operation, network bool) error {
	if !ValidID(op.GetId()) {
		return Refuse(malformed, "the operation's ID %q is not 26 lowercase letters and digits", clipped(op.GetId(), 64))
	}
	if op.GetSequence().GetCounter() == 0 {
		return Refuse(malformed, "operation %s has no sequence", op.GetId())
	}
	check, known := checkOf(op.GetKind())
	if !known {
		return Refuse(unknownKind, "operations of kind %d are unknown here; upgrade the agent", op.GetKind())
	}
	if op.GetKind() == agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH && !network {
		return Refuse(unknownKind, "operation %s is a live network switch, which the daemon runs and root never does", op.GetId())
	}
	if err := validateDeadline(op); err != nil {
		return err
	}
	if err := carriesOnly(op, partsOf(op.GetKind())); err != nil {
		return err
	}
	return check(op)
}

// checkOf returns what checks the fields of a kind.
func checkOf(kind agentv1.OperationKind) (check func(*agentv1.Operation) error, known bool) {
	switch kind {
	case agentv1.OperationKind_OPERATION_KIND_PROVISION,
		agentv1.OperationKind_OPERATION_KIND_RECONFIGURE:
		return validateNode, true
	case agentv1.OperationKind_OPERATION_KIND_REPAVE:
		return validateRepave, true
	case agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return validateDrain, true
	case agentv1.OperationKind_OPERATION_KIND_ABORT:
		return validateAbort, true
	case agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH:
		return validateSwitch, true
	default:
		return nil, false
	}
}

// parts are the fields of an operation that not every kind may carry.
type parts struct{ node, image, drain, force, network, abort bool }

// partsOf says which of them a kind may carry. A leave carries no node part, not
// even for display: what is taken off the host is what root's own record says is
// on it, and a second word on that could only be wrong.
func partsOf(kind agentv1.OperationKind) parts {
	switch kind {
	case agentv1.OperationKind_OPERATION_KIND_PROVISION:
		return parts{node: true, image: true, force: true}
	case agentv1.OperationKind_OPERATION_KIND_REPAVE:
		return parts{node: true, image: true, force: true, drain: true}
	case agentv1.OperationKind_OPERATION_KIND_RECONFIGURE:
		return parts{node: true, force: true}
	case agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return parts{force: true, drain: true}
	case agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH:
		return parts{network: true}
	case agentv1.OperationKind_OPERATION_KIND_ABORT:
		return parts{abort: true}
	default:
		return parts{}
	}
}

// carriesOnly refuses an operation with a part that its kind may not carry.
func carriesOnly(op *agentv1.Operation, may parts) error {
	for _, part := range []struct {
		name        string
		carried, ok bool
	}{
		{"a node part", op.GetNode() != nil || op.GetNodeDigest() != "" || op.GetNodeIp() != "", may.node},
		{"the digest of an OS image", op.GetOsImageDigest() != "", may.image},
		{"drain options", op.GetDrain() != nil, may.drain},
		{"force", op.GetForce(), may.force},
		{"a network switch", op.GetNetworkSwitch() != nil, may.network},
		{"the ID of an operation to end", op.GetAbort() != nil, may.abort},
	} {
		if part.carried && !part.ok {
			return Refuse(malformed, "operation %s is of kind %s and carries %s, which that kind does not; the plane and this agent are of versions that do not fit",
				op.GetId(), KindName(op.GetKind()), part.name)
		}
	}
	return nil
}

// validateAbort checks which operation an abort ends.
func validateAbort(op *agentv1.Operation) error {
	ends := op.GetAbort().GetOperationId()
	if !ValidID(ends) {
		return Refuse(malformed, "operation %s is to end operation %q, which is no operation ID", op.GetId(), clipped(ends, 64))
	}
	if ends == op.GetId() {
		return Refuse(malformed, "operation %s is to end itself", op.GetId())
	}
	return nil
}
