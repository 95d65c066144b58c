package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// errInterrupted says that the process is to end before the operation has.
var errInterrupted = errors.New("interrupted")

// step tries one step until it is done, fails for good, or time is over.
func (x *execution) step(ctx context.Context, step Step) error {
	stopClock := x.clock(step)
	defer stopClock()
	x.show(step, "")
	ctx, cancel := withDeadline(ctx, step.Together)
	defer cancel()
	attempts := max(step.Attempts, 1)
	pause := x.engine.opt.RetryPause
	for attempt := x.begun(step.Name); ; attempt++ {
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
	intent := journal.Record{Kind: journal.Intent, Step: step.Name, Attempt: attempt}
	if err := x.appendIf(notTurned, intent); err != nil {
		return err
	}
	bounded, cancel := withDeadline(ctx, step.Deadline)
	defer cancel()
	began := time.Now()
	done, err := x.checkAndDo(bounded, step, attempt)
	if x.engine.work.Err() != nil {
		// Whatever came of it, the next process looks again.
		return errInterrupted
	}
	if err != nil {
		x.log.Warn("step failed", zap.String("step", step.Name), zap.Int("attempt", attempt), zap.Error(err))
		return errors.Join(err, x.append(journal.Record{Kind: journal.Failed, Step: step.Name, Attempt: attempt, Message: limited(err)}))
	}
	took := time.Since(began)
	x.log.Info("step done", zap.String("step", step.Name), zap.Int("attempt", attempt), zap.Duration("took", took))
	if err := x.append(journal.Record{Kind: journal.Done, Step: step.Name, Attempt: attempt, Percent: step.Percent, Final: step.Final}); err != nil {
		return err
	}
	if done {
		x.took(step, took)
	}
	x.live.update(func(p *agentv1.OperationProgress) {
		p.Percent = max(p.Percent, step.Percent)
		p.Abortable = p.Abortable && !step.Final
	})
	return nil
}

// withDeadline bounds a context; 0: it does not.
func withDeadline(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// runID names a try of a step.
func (x *execution) runID(step string, attempt int) string {
	return fmt.Sprintf("%s-%s-%d", x.op.GetId(), step, attempt)
}

// checkAndDo reports whether anything had to be done.
func (x *execution) checkAndDo(ctx context.Context, step Step, attempt int) (bool, error) {
	if step.Check != nil {
		done, err := step.Check(ctx)
		if err != nil || done {
			return false, err
		}
	}
	began := time.Now()
	err := step.Do(ctx, x.run(step, x.runID(step.Name, attempt), attempt))
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil && step.Deadline > 0 {
		// Less than its deadline was left where the tries before took their time.
		limit := min(step.Deadline, time.Since(began).Round(time.Millisecond))
		return true, fmt.Errorf("step %s did not end within %s: %w", step.Name, limit, err)
	}
	return true, err
}

// run is what a try of a step, or of its undo, is told.
func (x *execution) run(step Step, id string, attempt int) Run {
	return Run{ID: id, Attempt: attempt, Say: func(text string) { x.show(step, text) }, Line: x.live.line}
}

// show publishes the step under way.
func (x *execution) show(step Step, message string) {
	done, abortable := x.journal.StepDone(step.Name), x.abortable(x.journal.Records()) == nil
	x.live.update(func(p *agentv1.OperationProgress) {
		p.State = agentv1.OperationState_OPERATION_STATE_RUNNING
		p.Step = step.Name
		p.Message = bounded(message, maxMessage)
		// An abort that is answered meanwhile has said so already.
		p.Abortable = abortable && p.Abortable
		if done {
			p.Percent = max(p.Percent, step.Percent)
		}
	})
}

// append journals a record with the time.
func (x *execution) append(record journal.Record) error {
	return x.appendIf(journal.Always, record)
}

func (x *execution) appendIf(allowed func([]journal.Record) error, record journal.Record) error {
	record.At = x.engine.opt.Now()
	err := x.journal.AppendIf(allowed, record)
	if err != nil && !errors.Is(err, errTurned) {
		return &storageError{fmt.Errorf("%w; free space on the disk of hybrid-agent-op's state", err)}
	}
	return err
}

// errTurned refuses what an abort or a failure came before.
var errTurned = errors.New("the operation is being taken back")

// notTurned allows what goes forward.
func notTurned(records []journal.Record) error {
	if _, turned := journal.Turn(records); turned {
		return errTurned
	}
	return nil
}

// limited is an error's text as journals and progress keep it.
func limited(err error) string {
	if text := bounded(err.Error(), maxMessage); text != "" {
		return text
	}
	return "no reason was given"
}
