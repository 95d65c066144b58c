package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation"
	"hybridagent/agent/session"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func newOperationBackoff() session.Backoff {
	return session.Backoff{First: time.Second, Cap: 10 * time.Second}
}

// passes says whether an operation may be taken later although it is not now: root
// is busy or could not, or the clock is off. Nothing else about a signed operation
// changes by waiting.
func passes(err error) bool {
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) {
		return true
	}
	switch refusal.Reason {
	case agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY,
		agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FAILED,
		agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION:
		return true
	}
	return false
}

// handle runs an operation to its end, or until the plane has sent another instead,
// which it returns.
func (o *operations) handle(ctx context.Context, env *agentv1.SignedOperation) *agentv1.SignedOperation {
	backoff := newOperationBackoff()
	for {
		op, err := o.prepare(env)
		switch {
		case err == nil && op == nil:
			return nil
		case err == nil && op.GetKind() == liveSwitch:
			o.runSwitch(ctx, op)
			return nil
		case err == nil:
			return o.bring(ctx, op, env)
		case !passes(err):
			o.log.Warn("refused an operation", zap.Error(err))
			// Which operation this was meant to be, nobody can tell: the plane is told
			// by the condition only.
			o.change(func(s *operationFacts) { s.refused, s.doorErr = o.refusalOf(nil, err), nil })
			return nil
		}
		o.waiting("", err)
		if newer, on := o.pause(ctx, 100*time.Millisecond+backoff.Next(), env); !on {
			return newer
		}
	}
}

// bring has the network part of an operation done, where it has one, and then root's.
func (o *operations) bring(ctx context.Context, op *agentv1.Operation, env *agentv1.SignedOperation) *agentv1.SignedOperation {
	if !movesNode(op.GetKind()) {
		return o.follow(ctx, op, env)
	}
	if newer, free := o.awaitRoot(ctx, op, env); !free {
		return newer
	}
	end, on := o.moveNetwork(ctx, op, o.progressed)
	if end != nil {
		o.finish(end)
	}
	if end != nil || !on {
		return nil
	}
	return o.follow(ctx, op, env)
}

// awaitRoot waits until root could begin with an operation: the network must not
// change for one that waits, nor under one that runs. Where it is not free, another
// operation may have come in its place.
func (o *operations) awaitRoot(ctx context.Context, op *agentv1.Operation, env *agentv1.SignedOperation) (newer *agentv1.SignedOperation, free bool) {
	backoff := newOperationBackoff()
	for {
		if o.abortedBefore(op.GetId()) {
			o.finish(movedEnd(op, agentv1.OperationState_OPERATION_STATE_ABORTED, o.now(), "aborted before it began"))
			return nil, false
		}
		err := o.rootBusy(ctx, op.GetId())
		if err == nil || ctx.Err() != nil {
			return nil, ctx.Err() == nil
		}
		o.waiting(op.GetId(), err)
		if newer, on := o.pause(ctx, 100*time.Millisecond+backoff.Next(), env); !on {
			o.leave(newer)
			return newer, false
		}
	}
}

// rootBusy says why root could not begin with an operation now; nil: it could, or
// has.
func (o *operations) rootBusy(ctx context.Context, id string) error {
	look, enough := context.WithCancel(ctx)
	defer enough()
	other, has := "", false
	_, err := o.door.Follow(look, "", func(p *agentv1.OperationProgress) {
		if !operation.Ended(p.GetState()) {
			other, has = p.GetOperationId(), true
			enough()
		}
	})
	var refusal *operation.Refusal
	switch {
	case has && other == id:
		return nil
	case has:
		return operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY, "operation %s runs on this host; %s begins after it", other, id)
	case errors.As(err, &refusal) && refusal.Reason == agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION:
		return nil // none has run yet
	}
	return err
}

// leave forgets an operation that root has not begun with, for a newer one.
func (o *operations) leave(newer *agentv1.SignedOperation) {
	o.change(func(s *operationFacts) {
		if newer != nil {
			*s = operationFacts{progress: o.before, netSwitch: s.netSwitch}
		}
	})
}

// prepare verifies an operation and keeps what is needed after its end; nil where
// there is nothing to do.
func (o *operations) prepare(env *agentv1.SignedOperation) (*agentv1.Operation, error) {
	op, err := operation.Verify(env, o.trust(), o.now())
	if err != nil {
		return nil, err
	}
	if op.GetKind() == liveSwitch {
		return op, nil
	}
	facts := o.facts()
	for _, last := range []*agentv1.OperationProgress{facts.progress, facts.refused} {
		if last.GetOperationId() == op.GetId() && operation.Ended(last.GetState()) {
			o.outbox.SetOperation(last) // the plane missed how it ended
			o.change(func(s *operationFacts) { s.doorErr = nil })
			return nil, nil
		}
	}
	if err := o.begin(op); err != nil {
		return nil, err
	}
	o.log.Info("operation begins", zap.String("op_id", op.GetId()), zap.String("kind", kindName(op.GetKind())))
	o.change(func(s *operationFacts) {
		o.hands, o.before = op.GetId(), s.progress
		*s = operationFacts{running: true, netSwitch: s.netSwitch}
	})
	return op, nil
}

// follow drives one operation to its end: submitted if there is an envelope, else
// attached to. It goes on through restarts of hybrid-agent-op, and for as long as
// root does not take it for a reason that passes; in that case another one from the
// plane takes its place, and is returned.
func (o *operations) follow(ctx context.Context, op *agentv1.Operation, env *agentv1.SignedOperation) *agentv1.SignedOperation {
	id := op.GetId()
	backoff := newOperationBackoff()
	began := time.Now()
	for ctx.Err() == nil {
		if env != nil && o.abortedBefore(id) {
			o.finish(movedEnd(op, agentv1.OperationState_OPERATION_STATE_ABORTED, o.now(), "aborted before it began"))
			return nil
		}
		end, err := o.once(ctx, id, env)
		var refusal *operation.Refusal
		switch refused := errors.As(err, &refusal); {
		case err == nil:
			o.finish(end)
			return nil
		case ctx.Err() != nil:
			return nil
		case refused && !(passes(err) && (env != nil || refusal.Reason == agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY)):
			o.refused(op, refusal)
			return nil
		case errors.Is(err, operation.ErrInterrupted):
			o.log.Info("hybrid-agent-op closed the connection, attaching again", zap.String("op_id", id))
		default:
			o.waiting(id, err)
		}
		var replaceable *agentv1.SignedOperation
		if env != nil && !o.begun(id) {
			replaceable = env // root has not begun with it
			if refusal != nil && movesNode(op.GetKind()) && time.Since(began) > movedPatience {
				// Its network must not stay without its node part. Only a refusal says that root
				// has not begun: one that does not answer may be at work.
				o.finish(movedEnd(op, agentv1.OperationState_OPERATION_STATE_FAILED, o.now(), fmt.Sprintf("root does not begin with it: %v; the former network returns; mend that, then repave again", err)))
				return nil
			}
		}
		if newer, on := o.pause(ctx, 100*time.Millisecond+backoff.Next(), replaceable); !on {
			o.leave(newer)
			return newer
		}
	}
	return nil
}

// waiting tells why an operation is not taken now, once for each reason.
func (o *operations) waiting(id string, err error) {
	if sameTrouble(o.facts().doorErr, err) {
		return
	}
	o.change(func(s *operationFacts) { s.doorErr = err })
	o.log.Warn("an operation is not taken now; trying on", zap.String("op_id", id), zap.Error(err))
}

// sameTrouble compares errors as far as people care: what is said of a clock
// changes with the clock.
func sameTrouble(a, b error) bool {
	if a == nil || b == nil {
		return false
	}
	const clock = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION
	var x, y *operation.Refusal
	if errors.As(a, &x) && errors.As(b, &y) && x.Reason == clock && y.Reason == clock {
		return true
	}
	return a.Error() == b.Error()
}

// pause waits. It ends early, and says not to go on, where ctx ends, or another
// operation came in place of env; nil: none may.
func (o *operations) pause(ctx context.Context, wait time.Duration, env *agentv1.SignedOperation) (newer *agentv1.SignedOperation, on bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	queue := o.queue
	if env == nil {
		queue = nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case <-timer.C:
			return nil, true
		case newer := <-queue:
			if !bytes.Equal(newer.GetOperation(), env.GetOperation()) {
				o.log.Info("the plane sent another operation; leaving the one that is not taken")
				return newer, false
			}
		}
	}
}
