package engine

import (
	"context"
	"errors"
	"io/fs"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Follow calls send with each state of an operation until it has ended, the
// last one included, or until send fails. An empty ID means the operation that
// runs or ran last. A signed abort has a progress of its own: it succeeds when the
// operation that it is for has ended as aborted. The error is a
// *operation.Refusal where there is no such operation.
func (e *Engine) Follow(ctx context.Context, id string, send func(*agentv1.OperationProgress) error) error {
	e.mutex.Lock()
	current := e.current
	e.mutex.Unlock()
	if current != nil {
		if id == "" || id == current.op.GetId() {
			return e.watch(ctx, current.live, send)
		}
		if abort, found := current.live.order(id); found {
			return e.watch(ctx, current.live, func(target *agentv1.OperationProgress) error {
				return send(abortProgress(abort, target))
			})
		}
	}
	progress, err := e.past(id)
	if err != nil {
		return err
	}
	return send(progress)
}

// watch sends the progress of the operation in this process.
func (e *Engine) watch(ctx context.Context, current *live, send func(*agentv1.OperationProgress) error) error {
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
		id = last.Running
	}
	if id == "" {
		return nil, operation.Refuse(precondition, "there was no operation on this host yet")
	}
	if !operation.ValidID(id) {
		return nil, operation.Refuse(malformed, "the operation's ID is not 26 lowercase letters and digits")
	}
	j, err := e.store.Peek(id)
	if err == nil {
		return Past(j), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	j, abort, err := e.store.AbortOf(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, operation.Refuse(precondition, "operation %s is not known on this host", id)
	}
	if err != nil {
		return nil, err
	}
	return abortProgress(abort, Past(j)), nil
}
