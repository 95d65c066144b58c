package engine

import (
	"errors"
	"fmt"
	"io/fs"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Resume takes up the operation that was under way when the last process
// ended, if any, and removes what ended ones left behind.
//
// Where that cannot be told, nothing new begins until it can: Submit is refused
// with the error.
func (e *Engine) Resume() error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.stuck = e.resume()
	return e.stuck
}

func (e *Engine) resume() error {
	if err := e.store.RemoveEnded(); err != nil {
		return err
	}
	last, err := e.store.Sequence()
	if err != nil {
		return err
	}
	if last.Running == "" {
		return nil
	}
	j, err := e.store.Load(last.Running)
	if errors.Is(err, journal.ErrDamaged) {
		j, err = e.anew(last)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, ended := j.Result(); ended {
		return nil
	}
	e.takeUp(last.Running, j)
	return nil
}

// takeUp goes on with an operation. Where its bytes are lost it still has to be
// ended in order: nodeadm may be at work for it.
func (e *Engine) takeUp(id string, j *journal.Journal) {
	op, err := e.kept(id)
	if err == nil {
		e.log.Info("operation resumed", zap.String("op_id", id))
		e.start(op, j, (*execution).resumed)
		return
	}
	known := j.Records()[0].Operation
	op = &agentv1.Operation{Id: id, Kind: agentv1.OperationKind(known.Kind), NodeDigest: known.NodeDigest}
	e.start(op, j, func(*execution) error {
		return fmt.Errorf("operation %s cannot be resumed: %w; submit a new one", id, err)
	})
}

// anew begins the journal of the last operation again in place of a damaged one;
// fs.ErrNotExist where its bytes are gone, as those of an ended operation are.
// Steps are idempotent, so that doing them again does no harm.
func (e *Engine) anew(last journal.Sequence) (*journal.Journal, error) {
	if err := e.store.SetAside(last.Running); err != nil {
		return nil, err
	}
	signed, err := e.store.Signed(last.Running)
	if err != nil {
		return nil, err
	}
	op, err := e.kept(last.Running)
	if err != nil {
		return nil, err
	}
	known := journalled(op, signed)
	if op.GetSequence() == nil {
		known.Local, known.Epoch, known.Counter = true, last.Epoch, last.Counter
	}
	return e.store.Create(last.Running, signed, known, e.opt.Now())
}

// kept reads an accepted operation back. Its signature was checked when it was
// accepted, and only root could change it since.
func (e *Engine) kept(id string) (*agentv1.Operation, error) {
	signed, err := e.store.Signed(id)
	if err != nil {
		return nil, err
	}
	op := &agentv1.Operation{}
	if err := proto.Unmarshal(signed, op); err != nil {
		return nil, fmt.Errorf("cannot parse its bytes: %w", err)
	}
	return op, nil
}
