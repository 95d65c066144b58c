package main

import (
	"crypto/rand"
	"errors"
	"strings"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/applied"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// localSubmitter makes the operations that local root asks for: with an ID of their
// own, without sequence and signature. A repave of root's names no node part: it
// repeats what the record in dir says is in force.
func localSubmitter(hostID, dir string, submit func(*agentv1.Operation) error) func(agentv1.OperationKind, bool) (string, error) {
	return func(kind agentv1.OperationKind, force bool) (string, error) {
		if kind == agentv1.OperationKind_OPERATION_KIND_REPAVE {
			if err := repairable(dir); err != nil {
				return "", err
			}
		}
		op := &agentv1.Operation{
			Id:     strings.ToLower(rand.Text()), // 26 letters and digits, 128 random bits
			HostId: hostID, Kind: kind, Force: force,
		}
		return op.GetId(), submit(op)
	}
}

// repairable refuses a repair where nothing is known to be in force.
func repairable(dir string) error {
	const precondition = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION
	state, found, err := applied.ReadState(dir)
	var damaged *applied.DamagedError
	switch {
	case err != nil && !errors.As(err, &damaged):
		return err
	case !found:
		return operation.Refuse(precondition, "this host is no node: nothing is in force that could be repaired; the plane provisions it")
	case state.Node == nil:
		return operation.Refuse(precondition, "root's record does not tell what is in force, since an older version made it; repave the host from the plane with hybridctl")
	default:
		return nil
	}
}
