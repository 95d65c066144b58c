package agent

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation"
	"hybridagent/agent/session"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// operationFacts is what conditions need to know of operations.
type operationFacts struct {
	running  bool
	progress *agentv1.OperationProgress // of the one that runs or ran last
	refused  *agentv1.OperationProgress // came after that, and did not begin; without an ID where its signature is wrong
	// netSwitch is the live switch of the VPN servers that runs or ran last.
	netSwitch *agentv1.OperationProgress
	doorErr   error // hybrid-agent-op does not take an operation now
}

// latest is what became of the operation that came last; nil: none came.
func (o operationFacts) latest() *agentv1.OperationProgress {
	if o.refused != nil {
		return o.refused
	}
	return o.progress
}

func (o operationFacts) failed() bool {
	return o.progress != nil && operation.Ended(o.progress.GetState()) && !succeeded(o.progress)
}

// operations hands signed operations to root and follows them. It verifies them
// first: what root would refuse for its signature does not even reach the door.
type operations struct {
	log    *zap.Logger
	door   Door
	outbox *session.Outbox
	trust  func() operation.Trust
	now    func() time.Time
	begin  func(*agentv1.Operation) error
	// switchServers runs a live switch to its end; nil: ctx ended first.
	switchServers func(context.Context, *agentv1.Operation, func(*agentv1.OperationProgress)) *agentv1.OperationProgress
	// moveNetwork brings the network part of an operation into force; see core.
	moveNetwork func(context.Context, *agentv1.Operation, func(*agentv1.OperationProgress)) (end *agentv1.OperationProgress, on bool)
	// abortMove ends the trial of an operation's network; false: none runs.
	abortMove func(operationID string) bool
	changed   func()
	ended     func()
	ready     chan struct{}
	queue     chan *agentv1.SignedOperation
	aborts    chan *agentv1.SignedOperation
	looks     chan struct{}

	// before is how the last operation ended, for when the next is refused; of the
	// goroutine that runs.
	before *agentv1.OperationProgress
	told   string // the operation whose end was told last
	// lookedAt is when root was asked last for operations of others.
	lookedAt time.Time

	mu      sync.Mutex
	state   operationFacts
	aborted string // the operation that the plane aborted last
	hands   string // the operation that was prepared last
}

func newOperations(log *zap.Logger, door Door, outbox *session.Outbox) *operations {
	return &operations{
		log: log, door: door, outbox: outbox, now: time.Now, ready: make(chan struct{}),
		queue: make(chan *agentv1.SignedOperation, 1), aborts: make(chan *agentv1.SignedOperation, 1),
		looks: make(chan struct{}, 1),
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

// offer takes an operation from the stream; the newest waits for its turn. An abort
// does not wait for what it aborts.
func (o *operations) offer(env *agentv1.SignedOperation) {
	queue := o.queue
	if op, err := operation.Verify(env, o.trust(), o.now()); err == nil && op.GetKind() == agentv1.OperationKind_OPERATION_KIND_ABORT {
		queue = o.aborts
	}
	for {
		select {
		case queue <- env:
			return
		default:
		}
		select {
		case <-queue:
		default:
		}
	}
}

// Run first attaches to an operation that outlived the daemon, then runs what
// comes, until ctx ends; then it returns nil.
func (o *operations) Run(ctx context.Context) error {
	close(o.ready)
	var aborting sync.WaitGroup
	defer aborting.Wait()
	aborting.Go(func() { o.abortAll(ctx) })
	o.follow(ctx, nil, nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case env := <-o.queue:
			for env != nil {
				env = o.handle(ctx, env)
			}
		case <-o.looks:
			if now := time.Now(); now.Sub(o.lookedAt) >= lookGap {
				o.lookedAt = now
				o.follow(ctx, nil, nil)
			}
		}
	}
}

// lookGap is the least time between two looks for operations that nobody sent here.
const lookGap = 30 * time.Second

// look has root asked for operations that root on this host may have begun: kubelet or
// containerd is not as it was.
func (o *operations) look() {
	select {
	case o.looks <- struct{}{}:
	default:
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
	if operation.Ended(p.GetState()) && proto.Equal(p, o.facts().progress) {
		return // told before
	}
	o.outbox.SetOperation(p)
	o.change(func(s *operationFacts) {
		*s = operationFacts{running: !operation.Ended(p.GetState()), progress: p, netSwitch: s.netSwitch}
	})
}

func (o *operations) finish(end *agentv1.OperationProgress) {
	if proto.Equal(end, o.facts().progress) && o.told == end.GetOperationId() {
		return
	}
	o.told = end.GetOperationId()
	o.log.Info("operation ended", zap.String("op_id", end.GetOperationId()), zap.Stringer("state", end.GetState()),
		zap.String("message", end.GetMessage()))
	o.progressed(end)
	o.ended()
}

// refused takes root's no. The plane knows the operation, and does not send it
// again: another try is the operator's to ask for.
func (o *operations) refused(op *agentv1.Operation, refusal *operation.Refusal) {
	if op == nil {
		// Asked for whatever runs, there is nothing: the usual case at start.
		o.change(func(s *operationFacts) { s.running, s.doorErr = false, nil })
		return
	}
	o.log.Warn("hybrid-agent-op refused an operation", zap.String("op_id", op.GetId()), zap.Error(refusal))
	o.refuse(op, refusal, o.before)
}

// refuse tells the plane and this host that an operation will not begin; before is
// how the last one ended that did.
func (o *operations) refuse(op *agentv1.Operation, err error, before *agentv1.OperationProgress) {
	progress := o.refusalOf(op, err)
	o.outbox.SetOperation(progress)
	o.change(func(s *operationFacts) {
		*s = operationFacts{progress: before, refused: progress, netSwitch: s.netSwitch}
	})
}

// refusalOf is a refusal as progress; op is nil where it could not be verified.
func (o *operations) refusalOf(op *agentv1.Operation, err error) *agentv1.OperationProgress {
	return &agentv1.OperationProgress{
		OperationId: op.GetId(), Kind: op.GetKind(), NodeDigest: op.GetNodeDigest(),
		State: agentv1.OperationState_OPERATION_STATE_REFUSED, Message: brief(err.Error(), maxMessage), EndedAt: timestamppb.New(o.now()),
	}
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
