package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

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
}

// errInterrupted says that the process is to end before the operation has.
var errInterrupted = errors.New("interrupted")

// perform does the steps, unless there is a cause not to, and journals the end.
// When ctx is cancelled, it returns and leaves the rest to the next process.
func (x *execution) perform(ctx context.Context, before func(*execution) error) {
	steps, err := x.engine.opt.Plan(x.op)
	if before != nil {
		err = errors.Join(before(x), err)
	}
	failed := ""
	if err == nil {
		failed, err = x.steps(ctx, steps)
	}
	if errors.Is(err, errInterrupted) {
		x.log.Info("operation interrupted; it is taken up at the next start")
		return
	}
	if err != nil && !(x.stopRuns(ctx) && x.undo(ctx, steps)) {
		return
	}
	x.end(ctx, failed, err)
}

// steps does each step that is not done yet; it returns the name of the one
// that failed.
func (x *execution) steps(ctx context.Context, steps []Step) (string, error) {
	limit := operation.Deadline(x.op)
	whole, cancel := context.WithTimeout(ctx, limit-spent(x.journal.Records(), x.engine.opt.Now(), limit))
	defer cancel()
	for _, step := range steps {
		if x.journal.StepDone(step.Name) && !step.Always {
			x.show(step, "")
			continue
		}
		err := x.step(whole, step)
		if ctx.Err() != nil {
			return step.Name, errInterrupted
		}
		if err != nil && whole.Err() != nil {
			err = fmt.Errorf("the operation's deadline of %s has passed: %w", limit, err)
		}
		if err != nil {
			return step.Name, err
		}
	}
	return "", nil
}

// step tries one step until it is done, fails for good, or time is over.
func (x *execution) step(ctx context.Context, step Step) error {
	x.show(step, "")
	attempts := max(step.Attempts, 1)
	first := x.begun(step.Name)
	pause := x.engine.opt.RetryPause
	for attempt := first; ; attempt++ {
		err := x.try(ctx, step, attempt)
		if err == nil {
			return nil
		}
		var storage *storageError
		if ctx.Err() != nil || IsPermanent(err) || attempt >= attempts || errors.As(err, &storage) {
			return err
		}
		x.show(step, fmt.Sprintf("try %d of %d failed: %v; trying again in %s", attempt, attempts, err, pause))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// begun returns the try to go on with: the one that was cut short, or the next.
func (x *execution) begun(step string) int {
	records := x.journal.Records()
	for i := len(records) - 1; i >= 0; i-- {
		if records[i].Step != step {
			continue
		}
		switch records[i].Kind {
		case journal.Intent:
			return records[i].Attempt
		case journal.Failed:
			return records[i].Attempt + 1
		}
		break
	}
	return 1
}

// storageError is a journal that cannot be written: nothing more is tried.
type storageError struct{ err error }

func (s *storageError) Error() string { return s.err.Error() }
func (s *storageError) Unwrap() error { return s.err }

// try does a step once, between its intent and its outcome.
func (x *execution) try(ctx context.Context, step Step, attempt int) error {
	if err := x.append(journal.Record{Kind: journal.Intent, Step: step.Name, Attempt: attempt}); err != nil {
		return err
	}
	bounded := ctx
	if step.Deadline > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, step.Deadline)
		defer cancel()
	}
	began := time.Now()
	err := x.checkAndDo(bounded, step, attempt)
	if x.engine.work.Err() != nil {
		// Whatever came of it, the next process looks again.
		return errInterrupted
	}
	if err != nil {
		x.log.Warn("step failed", zap.String("step", step.Name), zap.Int("attempt", attempt), zap.Error(err))
		return errors.Join(err, x.append(journal.Record{Kind: journal.Failed, Step: step.Name, Attempt: attempt, Message: limited(err)}))
	}
	x.log.Info("step done", zap.String("step", step.Name), zap.Int("attempt", attempt), zap.Duration("took", time.Since(began)))
	if err := x.append(journal.Record{Kind: journal.Done, Step: step.Name, Attempt: attempt, Percent: step.Percent}); err != nil {
		return err
	}
	x.live.update(func(p *agentv1.OperationProgress) { p.Percent = max(p.Percent, step.Percent) })
	return nil
}

// runID names a try of a step.
func (x *execution) runID(step string, attempt int) string {
	return fmt.Sprintf("%s-%s-%d", x.op.GetId(), step, attempt)
}

func (x *execution) checkAndDo(ctx context.Context, step Step, attempt int) error {
	if step.Check != nil {
		done, err := step.Check(ctx)
		if err != nil || done {
			return err
		}
	}
	err := step.Do(ctx, Run{
		ID:      x.runID(step.Name, attempt),
		Attempt: attempt,
		Say:     func(text string) { x.show(step, text) },
		Line:    x.live.line,
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil && step.Deadline > 0 {
		return fmt.Errorf("step %s did not end within %s: %w", step.Name, step.Deadline, err)
	}
	return err
}

// show publishes the step under way.
func (x *execution) show(step Step, message string) {
	x.live.update(func(p *agentv1.OperationProgress) {
		p.State = agentv1.OperationState_OPERATION_STATE_RUNNING
		p.Step = step.Name
		p.Message = bounded(message, maxMessage)
		if x.journal.StepDone(step.Name) {
			p.Percent = max(p.Percent, step.Percent)
		}
	})
}

// append journals a record with the time.
func (x *execution) append(record journal.Record) error {
	record.At = x.engine.opt.Now()
	if err := x.journal.Append(record); err != nil {
		return &storageError{fmt.Errorf("%w; free space on the disk of hybrid-agent-op's state", err)}
	}
	return nil
}

// limited is an error's text as journals and progress keep it.
func limited(err error) string { return bounded(err.Error(), maxMessage) }
