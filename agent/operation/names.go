package operation

import (
	"strings"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Ended reports whether an operation in this state is over.
func Ended(state agentv1.OperationState) bool {
	switch state {
	case agentv1.OperationState_OPERATION_STATE_SUCCEEDED,
		agentv1.OperationState_OPERATION_STATE_FAILED,
		agentv1.OperationState_OPERATION_STATE_REFUSED,
		agentv1.OperationState_OPERATION_STATE_ABORTED:
		return true
	default:
		return false
	}
}

// StateName is a state in lower case: succeeded.
func StateName(state agentv1.OperationState) string {
	return strings.ToLower(strings.TrimPrefix(state.String(), "OPERATION_STATE_"))
}

// KindName is a kind in words: repave, live network switch.
func KindName(kind agentv1.OperationKind) string {
	name := strings.ToLower(strings.TrimPrefix(kind.String(), "OPERATION_KIND_"))
	return strings.ReplaceAll(name, "_", " ")
}
