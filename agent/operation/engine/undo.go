package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// turnBack ends an operation that was aborted or has failed: it notes the
// failure, stops what is at work, takes back what was begun, and words the end.
// It returns true when the operation goes forward after all: a final step was
// done before an abort could stop it.
func (x *execution) turnBack(ctx context.Context, failed string, cause error) bool {
	turn, ok := x.turn(ctx, failed, cause)
	if !ok || !x.stopRuns(ctx) {
		return false
	}
	if turn.Kind == journal.Abort && x.overtaken(ctx) {
		return true
	}
	if cause == nil || turn.Kind == journal.Abort || turn.Message != limited(cause) {
		// Decided before: by an abort, or in an earlier process.
		cause = causeOf(turn)
	}
	undone, ok := x.takeBack(ctx, cause)
	if ok {
		x.end(ctx, turn, cause, undone)
	}
	return false
}

// turn returns the record from which the operation is taken back, and journals it
// where there is none yet: after a power cut it goes on being taken back.
func (x *execution) turn(ctx context.Context, failed string, cause error) (journal.Record, bool) {
	if turn, turned := journal.Turn(x.journal.Records()); turned {
		return turn, ctx.Err() == nil
	}
	if ctx.Err() != nil || errors.Is(cause, errInterrupted) {
		return journal.Record{}, false
	}
	record := journal.Record{Kind: journal.Failing, Step: failed, Message: limited(cause)}
	ok := x.insist(ctx, func(context.Context) error {
		if err := x.appendIf(notTurned, record); !errors.Is(err, errTurned) {
			return err
		}
		return nil
	})
	turn, _ := journal.Turn(x.journal.Records())
	x.live.update(func(p *agentv1.OperationProgress) { p.Abortable, p.EstimatedEndAt = false, nil })
	return turn, ok
}

// stopRun ends what a try may have left running.
func (e *Engine) stopRun(ctx context.Context, id string) error {
	if err := e.opt.Stop(ctx, id); err != nil {
		return fmt.Errorf("cannot stop %s: %w", id, err)
	}
	return nil
}

// stopRuns ends what tries left running: a failure must not be told, nor files
// be taken away, while nodeadm is still at work.
func (x *execution) stopRuns(ctx context.Context) bool {
	for _, intent := range x.journal.Undecided() {
		if !x.insist(ctx, x.stopping(x.runID(intent.Step, intent.Attempt))) {
			return false
		}
	}
	return true
}

// overtaken reports whether a final step that an abort cut short had been done by
// then, as its check says, and notes that.
func (x *execution) overtaken(ctx context.Context) bool {
	for _, step := range x.plan.Steps {
		attempt := x.journal.Attempts(step.Name)
		if !step.Final || step.Check == nil || attempt == 0 || x.journal.StepDone(step.Name) {
			continue
		}
		bound, cancel := context.WithTimeout(ctx, undoPatience)
		done, err := step.Check(bound)
		cancel()
		if err != nil || !done {
			continue
		}
		x.log.Warn("a final step was done before the abort could stop it; the operation goes on", zap.String("step", step.Name))
		return x.insist(ctx, x.appending(journal.Record{Kind: journal.Done, Step: step.Name, Attempt: attempt, Percent: step.Percent, Final: true}))
	}
	return false
}

// takeBack undoes, last first, the steps that were begun, and returns what could
// not be undone; nothing is, past the point of return. It returns false when the
// process is to end.
func (x *execution) takeBack(ctx context.Context, cause error) (undone []error, ok bool) {
	if journal.PastReturn(x.journal.Records()) {
		return nil, true
	}
	if x.planErr != nil && x.begunAnything() {
		undone = append(undone, fmt.Errorf("cannot tell how to take back what was begun: %w", x.planErr))
	}
	for _, step := range slices.Backward(x.plan.Steps) {
		if step.Undo == nil || !x.journal.Undoing(step.Name).Due {
			continue
		}
		err := x.undo(ctx, step, cause)
		if ctx.Err() != nil {
			return nil, false
		}
		if err != nil {
			undone = append(undone, fmt.Errorf("cannot take back step %s: %w", step.Name, err))
		}
	}
	return undone, ctx.Err() == nil
}

// undo tries to take one step back until it is, fails for good, or the process is
// to end. A try that was cut short is done again, under the same name; failed ones
// are counted across processes.
func (x *execution) undo(ctx context.Context, step Step, cause error) error {
	attempts := max(step.UndoAttempts, 1)
	pause := x.engine.opt.RetryPause
	for {
		was := x.journal.Undoing(step.Name)
		if was.GivenUp {
			return errors.New(was.Failed)
		}
		attempt := max(was.Attempt, 1)
		if was.Failed != "" {
			attempt++
		}
		x.show(step, fmt.Sprintf("%v: taking back step %s, try %d of %d", cause, step.Name, attempt, attempts))
		last := attempt >= attempts
		err := x.tryUndo(ctx, step, attempt, last)
		if err == nil || ctx.Err() != nil || IsPermanent(err) || last || !x.wait(ctx, pause) {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// tryUndo takes a step back once, between its intent and its outcome; last says
// that there is no other try.
func (x *execution) tryUndo(ctx context.Context, step Step, attempt int, last bool) error {
	record := journal.Record{Kind: journal.Undo, Step: step.Name, Attempt: attempt}
	if !x.insist(ctx, x.appending(record)) {
		return errInterrupted
	}
	limit := step.UndoDeadline
	if limit <= 0 {
		limit = undoPatience
	}
	id := x.undoID(step.Name, attempt)
	bounded, cancel := context.WithTimeout(ctx, limit)
	err := step.Undo(bounded, x.run(step, id, attempt))
	late := bounded.Err() != nil
	cancel()
	if ctx.Err() != nil {
		// Whatever came of it, the next process does it again.
		return errInterrupted
	}
	record.Kind = journal.Undone
	if err != nil {
		if late {
			err = fmt.Errorf("it did not end within %s: %w", limit, err)
		}
		x.log.Error("cannot undo a step", zap.String("step", step.Name), zap.Int("attempt", attempt), zap.Error(err))
		if !x.insist(ctx, x.stopping(id)) {
			return errInterrupted
		}
		record.Kind, record.Message, record.Final = journal.UndoFailed, limited(err), last || IsPermanent(err)
	}
	if !x.insist(ctx, x.appending(record)) {
		return errInterrupted
	}
	return err
}

// undoID names a try of a step's undo; no try of a step ends so.
func (x *execution) undoID(step string, attempt int) string {
	return fmt.Sprintf("%s-%s-u%d", x.op.GetId(), step, attempt)
}
