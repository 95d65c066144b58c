package engine

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Options are the engine's settings.
type Options struct {
	// Plan makes the plan of an operation.
	Plan Planner
	// RetryPause is the time between two tries of a step; it doubles each time.
	// Default 5 s.
	RetryPause time.Duration
	// Stop ends what a try of a step, named by Run.ID, may have left running, also
	// under IDs that begin with that and a dash; nil where steps leave nothing. It
	// must also take IDs of which nothing runs.
	Stop func(ctx context.Context, runID string) error
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Ended is called after each operation; may be nil.
	Ended func(*agentv1.OperationProgress)
}

// Engine runs operations. It is the only user of its journal.
type Engine struct {
	log     *zap.Logger
	store   *journal.Store
	opt     Options
	history *history

	// work ends with Close: what runs then goes on in the next process.
	work   context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mutex   sync.Mutex
	current *execution
	// stuck is why Resume could not tell what was under way; nothing new begins
	// beside it.
	stuck  error
	closed bool
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
	return &Engine{log: log, store: store, opt: opt, history: openHistory(log, store), work: work, cancel: cancel}
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
	return e.running()
}

func (e *Engine) running() bool { return e.current != nil && !e.current.live.ended() }

// start runs an operation in the background. An error of before, which may be
// nil, brings it to its end as failed without a step being done.
func (e *Engine) start(op *agentv1.Operation, j *journal.Journal, before func(*execution) error) {
	x := newExecution(e, op, j)
	e.current = x
	e.tasks.Go(func() {
		x.perform(e.work, before)
		if e.opt.Ended != nil && x.live.ended() {
			e.opt.Ended(x.live.snapshot())
		}
	})
}
