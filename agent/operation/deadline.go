package operation

import (
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Deadlines of an operation, counted from its first step.
const (
	// DefaultProvisionDeadline holds for an operation that names none and drains
	// nothing.
	DefaultProvisionDeadline = 15 * time.Minute
	// DefaultRepaveDeadline holds for a repave or a leave that names none: a drain,
	// downloads, and in appliance mode a reboot.
	DefaultRepaveDeadline = time.Hour
	// MaxDeadline is the longest that an operation may ask for.
	MaxDeadline = 4 * time.Hour
)

// Deadline returns how long an operation may take.
func Deadline(op *agentv1.Operation) time.Duration {
	switch {
	case op.GetDeadline() != nil:
		return op.GetDeadline().AsDuration()
	case op.GetKind() == agentv1.OperationKind_OPERATION_KIND_REPAVE, op.GetKind() == agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return DefaultRepaveDeadline
	default:
		return DefaultProvisionDeadline
	}
}

// validateDeadline checks the deadline that an operation names.
func validateDeadline(op *agentv1.Operation) error {
	deadline := op.GetDeadline()
	if deadline == nil {
		return nil
	}
	if d := deadline.AsDuration(); deadline.CheckValid() != nil || d <= 0 || d > MaxDeadline {
		return Refuse(malformed, "operation %s has the deadline %s, not more than 0 and at most %s", op.GetId(), d, MaxDeadline)
	}
	return nil
}
