package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// execution is one operation being performed in this process.
type execution struct {
	engine  *Engine
	op      *agentv1.Operation
	journal *journal.Journal
	live    *live
	log     *zap.Logger
	plan    Plan
	planErr error
	// deadline is when the forward way must have ended.
	deadline time.Time
	// forward is the context of that way; stop ends it with an *Aborted.
	forward context.Context
	stop    context.CancelCauseFunc
}

func newExecution(e *Engine, op *agentv1.Operation, j *journal.Journal) *execution {
	x := &execution{engine: e, op: op, journal: j, live: newLive(op, j.Records()), log: e.log.With(zap.String("op_id", op.GetId()))}
	x.forward, x.stop = context.WithCancelCause(e.work)
	if turn, turned := journal.Turn(j.Records()); turned {
		x.stop(causeOf(turn))
	}
	return x
}

// causeOf words a record from which an operation is taken back.
func causeOf(turn journal.Record) error {
	if turn.Kind == journal.Abort {
		return &Aborted{By: turn.Order.By}
	}
	return errors.New(turn.Message)
}

// perform brings the operation to its end: forward through its steps or, from an
// abort or a failure on, back through those that were begun. When ctx is
// cancelled, it returns and leaves the rest to the next process.
func (x *execution) perform(ctx context.Context, before func(*execution) error) {
	defer x.stop(nil)
	limit := operation.Deadline(x.op)
	x.deadline = time.Now().Add(limit - spent(x.journal.Records(), x.engine.opt.Now(), limit))
	failed, err := "", x.prepare(ctx, before)
	for forward := err == nil; ctx.Err() == nil; {
		if forward {
			failed, err = x.steps(ctx)
		}
		if err == nil && x.succeed(ctx) {
			return
		}
		if forward = x.turnBack(ctx, failed, err); !forward {
			break
		}
	}
	if !x.live.ended() {
		x.log.Info("operation interrupted; it is taken up at the next start")
	}
}

// prepare makes the plan and has what it keeps on disk before the first step. An
// operation that is being taken back needs it too: it holds the undos.
func (x *execution) prepare(ctx context.Context, before func(*execution) error) error {
	if before != nil {
		if err := before(x); err != nil {
			if !x.begunAnything() {
				return err
			}
			kept, _ := x.journal.Kept()
			return errors.Join(err, x.makePlan(ctx, kept))
		}
	}
	kept, planned := x.journal.Kept()
	if _, turned := journal.Turn(x.journal.Records()); turned {
		if !planned && !x.begunAnything() {
			return nil
		}
		return x.makePlan(ctx, kept)
	}
	whole, cancel := x.whole(ctx)
	defer cancel()
	if err := x.makePlan(whole, kept); err != nil || planned {
		return err
	}
	return x.keep()
}

func (x *execution) makePlan(ctx context.Context, kept []byte) error {
	x.plan, x.planErr = x.engine.opt.Plan(ctx, x.op, kept)
	if x.planErr == nil {
		x.foretell()
	}
	return x.planErr
}

// whole is the context of what goes forward. Past the point of return no abort
// ends it.
func (x *execution) whole(ctx context.Context) (context.Context, context.CancelFunc) {
	if !journal.PastReturn(x.journal.Records()) {
		ctx = x.forward
	}
	return context.WithDeadline(ctx, x.deadline)
}

// begunAnything reports whether a step was begun: journals of the first format
// hold no plan.
func (x *execution) begunAnything() bool {
	for _, record := range x.journal.Records() {
		if record.Kind == journal.Intent {
			return true
		}
	}
	return false
}

// keep journals the first plan.
func (x *execution) keep() error {
	if size := len(x.plan.Kept); size > journal.MaxKept {
		return fmt.Errorf("cannot keep a plan of %d bytes: more than %d", size, journal.MaxKept)
	}
	record := journal.Record{Kind: journal.Planned, Kept: x.plan.Kept}
	if forecast := x.live.snapshot().GetForecast(); forecast != nil {
		encoded, err := proto.Marshal(forecast)
		if err != nil || len(encoded) > journal.MaxKept {
			x.log.Warn("the forecast is not kept", zap.Int("bytes", len(encoded)), zap.Error(err))
		} else {
			record.Forecast = encoded
		}
	}
	return x.append(record)
}

// steps does each step that is not done yet; it returns the name of the one
// that failed.
func (x *execution) steps(ctx context.Context) (string, error) {
	for _, step := range x.plan.Steps {
		if err := x.oneStep(ctx, step); err != nil {
			return step.Name, err
		}
	}
	return "", nil
}

// oneStep does a step within the operation's deadline, unless it is done already.
func (x *execution) oneStep(ctx context.Context, step Step) error {
	whole, cancel := x.whole(ctx)
	defer cancel()
	if x.journal.StepDone(step.Name) && !step.Always {
		x.show(step, "")
		return nil
	}
	if errors.Is(whole.Err(), context.Canceled) {
		return context.Cause(whole)
	}
	err := x.step(whole, step)
	if err != nil && errors.Is(whole.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the operation's deadline of %s has passed: %w", operation.Deadline(x.op), err)
	}
	return err
}
