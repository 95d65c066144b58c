package engine

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Options are the engine's settings.
type Options struct {
	// Plan makes the steps of an operation.
	Plan Planner
	// RetryPause is the time between two tries of a step; it doubles each time.
	// Default 5 s.
	RetryPause time.Duration
	// Stop ends what a try of a step, named by Run.ID, may have left running; nil
	// where steps leave nothing. It must also take IDs of which nothing runs.
	Stop func(ctx context.Context, runID string) error
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Ended is called after each operation; may be nil.
	Ended func(*agentv1.OperationProgress)
}

// Engine runs operations. It is the only user of its journal.
type Engine struct {
	log   *zap.Logger
	store *journal.Store
	opt   Options

	// work ends with Close: what runs then goes on in the next process.
	work   context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mutex   sync.Mutex
	current *live
	closed  bool
}

// New returns an engine over a journal. Resume takes up what was under way.
func New(log *zap.Logger, store *journal.Store, opt Options) *Engine {
	if opt.RetryPause == 0 {
		opt.RetryPause = 5 * time.Second
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Stop == nil {
		opt.Stop = func(context.Context, string) error { return nil }
	}
	store.OnDamage(func(err error) { log.Error("a file of root's was damaged", zap.Error(err)) })
	work, cancel := context.WithCancel(context.Background())
	return &Engine{log: log, store: store, opt: opt, work: work, cancel: cancel}
}

// Close stops working and waits; an operation under way is taken up by the next
// process.
func (e *Engine) Close() {
	e.mutex.Lock()
	e.closed = true
	e.mutex.Unlock()
	e.cancel()
	e.tasks.Wait()
}

// Busy reports whether an operation runs.
func (e *Engine) Busy() bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.current != nil && !e.current.ended()
}

// Submit accepts a verified operation, whose bytes are given as they were
// signed, and starts it; or, when it was submitted before, leaves it as it is.
// Follow shows its progress. Errors are *operation.Refusal where the operation
// was refused.
func (e *Engine) Submit(op *agentv1.Operation, signed []byte) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.closed {
		return operation.Refuse(busy, "hybrid-agent-op is stopping; submit operation %s again", op.GetId())
	}
	again, err := e.admit(op, signed)
	if err != nil || again {
		return err
	}
	place := journal.Sequence{Epoch: op.GetSequence().GetEpoch(), Counter: op.GetSequence().GetCounter(), ID: op.GetId()}
	if err := e.store.SetSequence(place); err != nil {
		return err
	}
	j, err := e.store.Create(op.GetId(), signed, journalled(op, signed), e.opt.Now())
	if err != nil {
		return err
	}
	e.log.Info("operation accepted", zap.String("op_id", op.GetId()), zap.Stringer("kind", op.GetKind()),
		zap.Uint64("epoch", place.Epoch), zap.Uint64("counter", place.Counter))
	e.start(op, j, nil)
	return nil
}

// Short names for the reasons.
const (
	busy         = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY
	stale        = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE
	malformed    = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED
	precondition = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION
)

// admit refuses what is old or comes while another operation runs. again is
// true for the operation that was accepted last.
func (e *Engine) admit(op *agentv1.Operation, signed []byte) (again bool, err error) {
	last, err := e.store.Sequence()
	if err != nil {
		return false, err
	}
	place := journal.Sequence{Epoch: op.GetSequence().GetEpoch(), Counter: op.GetSequence().GetCounter(), ID: op.GetId()}
	if place == last {
		return e.known(op, signed)
	}
	if !last.Before(place) {
		return false, operation.Refuse(stale,
			"operation %s has the sequence %d.%d, which is not higher than %d.%d, the last accepted; it is old or was replayed",
			place.ID, place.Epoch, place.Counter, last.Epoch, last.Counter)
	}
	if e.current != nil && !e.current.ended() {
		return false, operation.Refuse(busy, "operation %s runs; submit %s again when it has ended", e.current.id(), place.ID)
	}
	if _, err := e.store.Peek(op.GetId()); err == nil {
		return false, operation.Refuse(malformed, "operation %s was accepted before with another sequence", op.GetId())
	}
	return false, nil
}

// start runs an operation in the background. An error of before, which may be
// nil, brings it to its end as failed without a step being done.
func (e *Engine) start(op *agentv1.Operation, j *journal.Journal, before func(*execution) error) {
	current := newLive(op, j.Records()[0].At)
	e.current = current
	e.tasks.Go(func() {
		run := &execution{engine: e, op: op, journal: j, live: current, log: e.log.With(zap.String("op_id", op.GetId()))}
		run.perform(e.work, before)
		if e.opt.Ended != nil && current.ended() {
			e.opt.Ended(current.snapshot())
		}
	})
}
