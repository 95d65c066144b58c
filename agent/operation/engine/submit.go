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

// Short names for the reasons.
const (
	busy         = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY
	stale        = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE
	malformed    = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED
	precondition = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION
)

// Submit accepts a verified operation, whose bytes are given as they were
// signed, and starts it; or, when it was submitted before, leaves it as it is.
// An operation of kind abort ends another instead. Follow shows the progress.
// Errors are *operation.Refusal where the operation was refused.
func (e *Engine) Submit(op *agentv1.Operation, signed []byte) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if err := e.open(op); err != nil {
		return err
	}
	last, err := e.store.Sequence()
	if err != nil {
		return err
	}
	if op.GetKind() == agentv1.OperationKind_OPERATION_KIND_ABORT {
		return e.submitAbort(op, signed, last)
	}
	again, err := e.admit(op, signed, last)
	if err != nil || again {
		return err
	}
	place := placeOf(op)
	place.Running = place.ID
	if err := e.store.SetSequence(place); err != nil {
		return err
	}
	return e.begin(op, signed, journalled(op, signed))
}

// SubmitLocal starts an operation that local root asks for and nobody signed. It
// has an ID of its own and no sequence; Follow shows its progress. Errors are as
// Submit's.
func (e *Engine) SubmitLocal(op *agentv1.Operation) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if err := e.open(op); err != nil {
		return err
	}
	if op.GetKind() == agentv1.OperationKind_OPERATION_KIND_ABORT {
		return operation.Refuse(malformed, "an abort from this host needs no operation of its own; run 'hybrid-agent operation abort'")
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		return fmt.Errorf("cannot encode operation %s: %w", op.GetId(), err)
	}
	if again, err := e.known(op, encoded); err != nil || again {
		return err
	}
	if err := e.free(op.GetId()); err != nil {
		return err
	}
	place, err := e.store.Sequence()
	if err != nil {
		return err
	}
	place.Running = op.GetId()
	if err := e.store.SetSequence(place); err != nil {
		return err
	}
	known := journalled(op, encoded)
	known.Local, known.Epoch, known.Counter = true, place.Epoch, place.Counter
	return e.begin(op, encoded, known)
}

// open refuses everything while the engine cannot work.
func (e *Engine) open(op *agentv1.Operation) error {
	switch {
	case e.closed:
		return operation.Refuse(busy, "hybrid-agent-op is stopping; submit operation %s again", op.GetId())
	case e.stuck != nil:
		return operation.Refuse(precondition, "cannot take up what was under way, so that nothing new may begin: %v", e.stuck)
	case !operation.ValidID(op.GetId()):
		return operation.Refuse(malformed, "the operation's ID is not 26 lowercase letters and digits")
	}
	return nil
}

// begin journals an operation and starts it.
func (e *Engine) begin(op *agentv1.Operation, encoded []byte, known journal.Operation) error {
	j, err := e.store.Create(op.GetId(), encoded, known, e.opt.Now())
	if err != nil {
		return err
	}
	e.log.Info("operation accepted", zap.String("op_id", op.GetId()), zap.Stringer("kind", op.GetKind()),
		zap.Bool("local", known.Local), zap.Uint64("epoch", known.Epoch), zap.Uint64("counter", known.Counter))
	e.start(op, j, nil)
	return nil
}

// admit refuses what is old or comes while another operation runs. again is
// true for the operation that was begun last, also after an abort of it took a
// higher place.
func (e *Engine) admit(op *agentv1.Operation, signed []byte, last journal.Sequence) (again bool, err error) {
	place := placeOf(op)
	if same(place, last) || place.ID == last.Running {
		again, err := e.known(op, signed)
		if err != nil || again {
			return again, err
		}
	}
	if same(place, last) {
		return false, e.free(place.ID)
	}
	if !last.Before(place) {
		return false, tooOld(place, last)
	}
	if err := e.free(place.ID); err != nil {
		return false, err
	}
	if _, err := e.store.Peek(op.GetId()); err == nil {
		return false, operation.Refuse(malformed, "operation %s was accepted before with another sequence", op.GetId())
	}
	return false, nil
}

// free refuses to begin an operation while another runs.
func (e *Engine) free(id string) error {
	if e.running() {
		return operation.Refuse(busy, "operation %s runs; submit %s again when it has ended", e.current.op.GetId(), id)
	}
	return nil
}

func tooOld(place, last journal.Sequence) error {
	return operation.Refuse(stale,
		"operation %s has the sequence %d.%d, which is not higher than %d.%d, the last accepted; it is old or was replayed",
		place.ID, place.Epoch, place.Counter, last.Epoch, last.Counter)
}

func placeOf(op *agentv1.Operation) journal.Sequence {
	return journal.Sequence{Epoch: op.GetSequence().GetEpoch(), Counter: op.GetSequence().GetCounter(), ID: op.GetId()}
}

// same reports whether a place is the last one, taken by the same operation.
func same(place, last journal.Sequence) bool {
	return place.Epoch == last.Epoch && place.Counter == last.Counter && place.ID == last.ID
}

// known handles an operation that was accepted before: without a journal its
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

// journalled is what the journal keeps of an operation.
func journalled(op *agentv1.Operation, signed []byte) journal.Operation {
	return journal.Operation{
		Kind: int32(op.GetKind()), NodeDigest: op.GetNodeDigest(), SHA256: sumOf(signed),
		Epoch: op.GetSequence().GetEpoch(), Counter: op.GetSequence().GetCounter(),
	}
}
