package engine

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// undoPatience bounds the undoing of one step, and the stopping of one run.
const undoPatience = time.Minute

// maxPause is the longest time between two tries of what must be done before an
// operation has ended.
const maxPause = 30 * time.Second

// insist does what an operation cannot end without, again and again; meanwhile
// the operation runs, and its progress says what is in the way. It returns false
// when the process is to end.
func (x *execution) insist(ctx context.Context, do func(context.Context) error) bool {
	said := ""
	for pause := x.engine.opt.RetryPause; ; pause = min(2*pause, maxPause) {
		bound, cancel := context.WithTimeout(ctx, undoPatience)
		err := do(bound)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
		if text := limited(err); text != said {
			said = text
			x.log.Error("cannot end the operation yet; trying on", zap.Error(err))
			x.live.update(func(p *agentv1.OperationProgress) {
				p.State = agentv1.OperationState_OPERATION_STATE_RUNNING
				p.Message = bounded("cannot end the operation yet: "+text, maxMessage)
			})
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// stopRuns ends what tries left running: a failure must not be told, nor files
// be taken away, while nodeadm is still at work.
func (x *execution) stopRuns(ctx context.Context) bool {
	for _, intent := range x.journal.Undecided() {
		id := x.runID(intent.Step, intent.Attempt)
		if !x.insist(ctx, func(ctx context.Context) error {
			if err := x.engine.opt.Stop(ctx, id); err != nil {
				return fmt.Errorf("cannot stop %s: %w", id, err)
			}
			return nil
		}) {
			return false
		}
	}
	return true
}

// undo takes back, last first, the steps that were begun. It returns false when
// the process is to end.
func (x *execution) undo(ctx context.Context, steps []Step) bool {
	for i := len(steps) - 1; i >= 0; i-- {
		step := steps[i]
		if step.Undo == nil || x.journal.Attempts(step.Name) == 0 {
			continue
		}
		if !x.insist(ctx, x.appending(journal.Record{Kind: journal.Undo, Step: step.Name})) {
			return false
		}
		bounded, cancel := context.WithTimeout(ctx, undoPatience)
		err := step.Undo(bounded)
		cancel()
		if err != nil {
			x.log.Error("cannot undo a step", zap.String("step", step.Name), zap.Error(err))
			continue
		}
		if !x.insist(ctx, x.appending(journal.Record{Kind: journal.Undone, Step: step.Name})) {
			return false
		}
	}
	return ctx.Err() == nil
}

func (x *execution) appending(record journal.Record) func(context.Context) error {
	return func(context.Context) error { return x.append(record) }
}

// end journals the result and then publishes it: a result that was told but is
// not on disk would be followed by the same operation once more.
func (x *execution) end(ctx context.Context, step string, err error) {
	now := x.engine.opt.Now()
	last := x.live.snapshot()
	record := journal.Record{
		Kind: journal.Ended, At: now, Step: last.GetStep(), Success: err == nil, Percent: last.GetPercent(),
		Message: "every step was done", Lines: last.GetLogLines(),
	}
	if err != nil {
		record.Step, record.Message = step, limited(err)
	}
	state := agentv1.OperationState_OPERATION_STATE_SUCCEEDED
	if err != nil {
		state = agentv1.OperationState_OPERATION_STATE_FAILED
	}
	if !x.insist(ctx, func(context.Context) error { return x.conclude(record) }) {
		x.log.Warn("the operation's result is not on disk; the next start goes on with it")
		return
	}
	x.log.Info("operation ended", zap.Stringer("state", state), zap.String("step", record.Step), zap.String("message", record.Message))
	x.live.update(func(p *agentv1.OperationProgress) {
		p.State, p.Step, p.Message, p.EndedAt = state, record.Step, record.Message, timestamppb.New(now)
		if err == nil {
			p.Percent = 100
		}
	})
}

// conclude puts the last record on disk.
func (x *execution) conclude(record journal.Record) error {
	err := x.journal.End(record)
	if _, ended := x.journal.Result(); ended && err != nil {
		x.log.Warn("cannot remove the bytes of an ended operation; the next start does", zap.Error(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; free space on the disk of hybrid-agent-op's state", err)
	}
	return nil
}
