package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation"
	"hybridagent/agent/session"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// operationFacts is what conditions need to know of operations.
type operationFacts struct {
	running  bool
	progress *agentv1.OperationProgress
	refusal  string // why the last one was refused before it began
	doorErr  error  // hybrid-agent-op cannot be reached for an operation
}

func (o operationFacts) failed() bool {
	return o.progress != nil && operation.Ended(o.progress.GetState()) && !succeeded(o.progress)
}

// operations hands signed operations to root and follows them. It verifies them
// first: what root would refuse for its signature does not even reach the door.
type operations struct {
	log     *zap.Logger
	door    Door
	outbox  *session.Outbox
	trust   func() operation.Trust
	now     func() time.Time
	begin   func(*agentv1.Operation) error
	changed func()
	ended   func()
	ready   chan struct{}
	queue   chan *agentv1.SignedOperation

	// before is how the last operation ended, for when the next is refused; of the
	// goroutine that runs.
	before *agentv1.OperationProgress

	mu    sync.Mutex
	state operationFacts
}

func newOperations(log *zap.Logger, door Door, outbox *session.Outbox) *operations {
	return &operations{
		log: log, door: door, outbox: outbox, now: time.Now, ready: make(chan struct{}),
		queue: make(chan *agentv1.SignedOperation, 1),
	}
}

// String names the task.
func (o *operations) String() string { return "operations" }

// Ready is closed as soon as the task runs.
func (o *operations) Ready() <-chan struct{} { return o.ready }

func (o *operations) facts() operationFacts {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

func (o *operations) change(change func(*operationFacts)) {
	o.mu.Lock()
	change(&o.state)
	o.mu.Unlock()
	o.changed()
}

// offer takes an operation from the stream; the newest waits for its turn.
func (o *operations) offer(env *agentv1.SignedOperation) {
	for {
		select {
		case o.queue <- env:
			return
		default:
		}
		select {
		case <-o.queue:
		default:
		}
	}
}

// Run first attaches to an operation that outlived the daemon, then runs what
// comes, until ctx ends; then it returns nil.
func (o *operations) Run(ctx context.Context) error {
	close(o.ready)
	o.follow(ctx, "", nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case env := <-o.queue:
			o.handle(ctx, env)
		}
	}
}

func (o *operations) handle(ctx context.Context, env *agentv1.SignedOperation) {
	op, err := operation.Verify(env, o.trust(), o.now())
	if err != nil {
		o.log.Warn("refused an operation", zap.Error(err))
		o.change(func(s *operationFacts) { s.refusal = err.Error() })
		return
	}
	log := o.log.With(zap.String("op_id", op.GetId()))
	if last := o.facts().progress; last.GetOperationId() == op.GetId() && operation.Ended(last.GetState()) {
		o.outbox.SetOperation(last) // the plane missed how it ended
		return
	}
	if err := o.begin(op); err != nil {
		log.Error("cannot prepare an operation", zap.Error(err))
		o.change(func(s *operationFacts) { s.refusal = err.Error() })
		return // the plane sends it again with the next stream
	}
	log.Info("operation begins", zap.String("kind", kindName(op.GetKind())))
	o.change(func(s *operationFacts) {
		o.before = s.progress
		*s = operationFacts{running: true}
	})
	o.follow(ctx, op.GetId(), env)
}

// follow drives one operation to its end: submitted if there is an envelope, else
// attached to. It goes on through restarts of hybrid-agent-op.
func (o *operations) follow(ctx context.Context, id string, env *agentv1.SignedOperation) {
	backoff := session.Backoff{First: time.Second, Cap: 10 * time.Second}
	told := ""
	for ctx.Err() == nil {
		end, err := o.once(ctx, id, env)
		var refusal *operation.Refusal
		switch {
		case err == nil:
			o.finish(end)
			return
		case ctx.Err() != nil:
			return
		case errors.As(err, &refusal):
			o.refused(id, env, refusal)
			return
		case errors.Is(err, operation.ErrInterrupted):
			o.log.Info("hybrid-agent-op closed the connection, attaching again", zap.String("op_id", id))
		default:
			if err.Error() == told {
				break // it was told, and nothing has changed
			}
			told = err.Error()
			o.change(func(s *operationFacts) { s.doorErr = err })
			o.log.Warn("cannot follow an operation; trying on", zap.String("op_id", id), zap.Error(err))
		}
		if !pause(ctx, 100*time.Millisecond+backoff.Next()) {
			return
		}
	}
}

// once is one connection to the door. Submitting again is how to attach: the door
// knows an operation by its ID and does not run it twice.
func (o *operations) once(ctx context.Context, id string, env *agentv1.SignedOperation) (*agentv1.OperationProgress, error) {
	if env != nil {
		return o.door.Submit(ctx, env, o.progressed)
	}
	return o.door.Follow(ctx, id, o.progressed)
}

func (o *operations) progressed(p *agentv1.OperationProgress) {
	o.outbox.SetOperation(p)
	o.change(func(s *operationFacts) {
		*s = operationFacts{running: !operation.Ended(p.GetState()), progress: p}
	})
}

func (o *operations) finish(end *agentv1.OperationProgress) {
	o.log.Info("operation ended", zap.String("op_id", end.GetOperationId()), zap.Stringer("state", end.GetState()),
		zap.String("message", end.GetMessage()))
	o.progressed(end)
	o.ended()
}

func (o *operations) refused(id string, env *agentv1.SignedOperation, refusal *operation.Refusal) {
	if env == nil {
		// Asked for whatever runs, there is nothing: the usual case at start.
		o.change(func(s *operationFacts) { s.running, s.doorErr = false, nil })
		return
	}
	o.log.Warn("hybrid-agent-op refused an operation", zap.String("op_id", id), zap.Error(refusal))
	o.outbox.SetOperation(&agentv1.OperationProgress{
		OperationId: id, Kind: agentv1.OperationKind_OPERATION_KIND_UNSPECIFIED,
		State: agentv1.OperationState_OPERATION_STATE_REFUSED, Message: refusal.Message,
	})
	o.change(func(s *operationFacts) {
		*s = operationFacts{progress: o.before, refusal: refusal.Message}
	})
}

// pause waits; false says that ctx ended.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
