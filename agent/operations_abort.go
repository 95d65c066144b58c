package agent

import (
	"context"
	"errors"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// abortAll hands aborts on as they come, until ctx ends.
func (o *operations) abortAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case env := <-o.aborts:
			o.abort(ctx, env)
		}
	}
}

// abort ends an operation wherever it is: on trial here, waiting here for root, or in
// root's hands, who takes an abort for its signature only. The end itself is told by
// the operation that is aborted.
func (o *operations) abort(ctx context.Context, env *agentv1.SignedOperation) {
	op, err := operation.Verify(env, o.trust(), o.now())
	if err != nil {
		o.log.Warn("refused an abort", zap.Error(err))
		return
	}
	target := op.GetAbort().GetOperationId()
	o.mu.Lock()
	o.aborted = target
	o.mu.Unlock()
	if o.abortMove(target) {
		o.log.Info("aborted an operation while its network was on trial", zap.String("op_id", target))
		o.outbox.SetOperation(&agentv1.OperationProgress{
			OperationId: op.GetId(), Kind: op.GetKind(), State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED,
			Message: "the operation was aborted before root began with it", EndedAt: timestamppb.New(o.now()),
		})
		return
	}
	o.abortAtRoot(ctx, op, env)
}

// abortAtRoot hands an abort to root and tells the plane what root makes of it.
func (o *operations) abortAtRoot(ctx context.Context, op *agentv1.Operation, env *agentv1.SignedOperation) {
	tell := func(p *agentv1.OperationProgress) {
		if p.GetOperationId() == op.GetId() {
			o.outbox.SetOperation(p)
		}
	}
	backoff := newOperationBackoff()
	for {
		begun := o.begun(op.GetAbort().GetOperationId())
		_, err := o.door.Submit(ctx, env, tell)
		var refusal *operation.Refusal
		switch {
		case err == nil:
			return
		case errors.As(err, &refusal) && !begun && o.handing(op.GetAbort().GetOperationId()):
			// The operation may have reached root a moment later than its abort.
		case errors.As(err, &refusal) && refusal.Reason != agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY:
			o.log.Warn("hybrid-agent-op does not abort an operation", zap.String("op_id", op.GetAbort().GetOperationId()), zap.Error(err))
			tell(o.refusalOf(op, err))
			return
		}
		if !pause(ctx, backoff.Next()) {
			return
		}
	}
}

// abortedBefore says whether an operation was aborted that root has not begun with.
func (o *operations) abortedBefore(id string) bool {
	begun := o.begun(id)
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.aborted == id && !begun
}

// begun says whether root has begun with an operation, as far as is known.
func (o *operations) begun(id string) bool {
	last := o.facts().progress
	return last.GetOperationId() == id && last.GetStep() != "" && last.GetStep() != networkStep && last.GetStep() != measureStep
}

// handing says whether an operation is on its way to root.
func (o *operations) handing(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hands == id && o.state.running
}
