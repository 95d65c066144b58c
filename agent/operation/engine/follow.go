package engine

import (
	"context"
	"errors"
	"io/fs"

	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Follow calls send with each state of an operation until it has ended, the
// last one included, or until send fails. An empty ID means the operation that
// runs or ran last. The error is a *operation.Refusal where there is none.
func (e *Engine) Follow(ctx context.Context, id string, send func(*agentv1.OperationProgress) error) error {
	e.mutex.Lock()
	current := e.current
	e.mutex.Unlock()
	if current == nil || (id != "" && current.id() != id) {
		progress, err := e.past(id)
		if err != nil {
			return err
		}
		return send(progress)
	}
	for {
		progress, changed := current.state()
		if err := send(progress); err != nil {
			return err
		}
		if operation.Ended(progress.GetState()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.work.Done():
			return e.work.Err()
		case <-changed:
		}
	}
}

// past rebuilds the last state of an operation that ended in an earlier
// process, from its journal.
func (e *Engine) past(id string) (*agentv1.OperationProgress, error) {
	if id == "" {
		last, err := e.store.Sequence()
		if err != nil {
			return nil, err
		}
		id = last.ID
	}
	if id == "" {
		return nil, operation.Refuse(precondition, "there was no operation on this host yet")
	}
	if !operation.ValidID(id) {
		return nil, operation.Refuse(malformed, "the operation's ID is not 26 lowercase letters and digits")
	}
	j, err := e.store.Peek(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, operation.Refuse(precondition, "operation %s is not known on this host", id)
	}
	if err != nil {
		return nil, err
	}
	return Past(j), nil
}

// Past is the state of an operation as its journal tells it.
func Past(j *journal.Journal) *agentv1.OperationProgress {
	records := j.Records()
	first := records[0]
	progress := &agentv1.OperationProgress{
		OperationId: j.ID(),
		Kind:        agentv1.OperationKind(first.Operation.Kind),
		NodeDigest:  first.Operation.NodeDigest,
		State:       agentv1.OperationState_OPERATION_STATE_PENDING,
		StartedAt:   timestamppb.New(first.At),
	}
	for _, record := range records {
		if record.Step != "" {
			progress.Step = record.Step
			progress.State = agentv1.OperationState_OPERATION_STATE_RUNNING
		}
		progress.Percent = max(progress.Percent, record.Percent)
	}
	if end, ended := j.Result(); ended {
		progress.EndedAt = timestamppb.New(end.At)
		progress.Message = end.Message
		progress.Step = end.Step
		progress.LogLines = end.Lines
		progress.State = agentv1.OperationState_OPERATION_STATE_FAILED
		if end.Success {
			progress.State = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
			progress.Percent = 100
		}
	}
	return progress
}
