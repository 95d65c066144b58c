package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// known handles the operation that was accepted last: without a journal its
// acceptance was cut short and begins again; with one, the bytes must be equal.
func (e *Engine) known(op *agentv1.Operation, signed []byte) (bool, error) {
	j, err := e.store.Peek(op.GetId())
	if errors.Is(err, journal.ErrDamaged) {
		return false, e.store.SetAside(op.GetId())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if j.Records()[0].Operation.SHA256 != sumOf(signed) {
		return false, operation.Refuse(malformed, "operation %s was accepted before with another content", op.GetId())
	}
	return true, nil
}

func sumOf(signed []byte) string {
	sum := sha256.Sum256(signed)
	return hex.EncodeToString(sum[:])
}

// Resume takes up the operation that was under way when the last process
// ended, if any, and removes what ended ones left behind.
func (e *Engine) Resume() error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if err := e.store.RemoveEnded(); err != nil {
		return err
	}
	last, err := e.store.Sequence()
	if err != nil {
		return err
	}
	if last.ID == "" {
		return nil
	}
	j, err := e.store.Load(last.ID)
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
	op, err := e.kept(last.ID)
	if err != nil {
		// It still has to be ended in order: nodeadm may be at work for it.
		known := j.Records()[0].Operation
		op = &agentv1.Operation{Id: last.ID, Kind: agentv1.OperationKind(known.Kind), NodeDigest: known.NodeDigest}
		e.start(op, j, func(*execution) error {
			return fmt.Errorf("operation %s cannot be resumed: %w; submit a new one", last.ID, err)
		})
		return nil
	}
	e.log.Info("operation resumed", zap.String("op_id", last.ID))
	e.start(op, j, (*execution).resumed)
	return nil
}

// anew begins the journal of the last operation again in place of a damaged one;
// fs.ErrNotExist where its bytes are gone, as those of an ended operation are.
// Steps are idempotent, so that doing them again does no harm.
func (e *Engine) anew(last journal.Sequence) (*journal.Journal, error) {
	if err := e.store.SetAside(last.ID); err != nil {
		return nil, err
	}
	signed, err := e.store.Signed(last.ID)
	if err != nil {
		return nil, err
	}
	op, err := e.kept(last.ID)
	if err != nil {
		return nil, err
	}
	return e.store.Create(last.ID, signed, journalled(op, signed), e.opt.Now())
}

// journalled is what the journal keeps of an operation.
func journalled(op *agentv1.Operation, signed []byte) journal.Operation {
	return journal.Operation{
		Kind: int32(op.GetKind()), NodeDigest: op.GetNodeDigest(), SHA256: sumOf(signed),
		Epoch: op.GetSequence().GetEpoch(), Counter: op.GetSequence().GetCounter(),
	}
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
