package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// succeed journals that every step was done, unless an abort came first, and
// publishes it. It returns false when the operation has not ended.
func (x *execution) succeed(ctx context.Context) bool {
	record := journal.Record{Success: true, Message: "every step was done", Step: x.live.snapshot().GetStep()}
	return x.conclude(ctx, notTurned, record)
}

// end journals and publishes the end of an operation that was taken back: as
// aborted, or as failed where it failed or something could not be taken back.
func (x *execution) end(ctx context.Context, turn journal.Record, cause error, undone []error) {
	record := journal.Record{Step: turn.Step, Aborted: turn.Kind == journal.Abort && len(undone) == 0}
	if turn.Kind == journal.Abort {
		record.Step = x.live.snapshot().GetStep()
	}
	record.Message = bounded(x.lastWords(ctx, cause, undone), maxMessage)
	x.conclude(ctx, journal.Always, record)
}

// lastWords is the message of a failed or aborted operation.
func (x *execution) lastWords(ctx context.Context, cause error, undone []error) string {
	if x.plan.Conclude != nil {
		bound, cancel := context.WithTimeout(ctx, undoPatience)
		defer cancel()
		if text := x.plan.Conclude(bound, cause, undone); text != "" {
			return text
		}
	}
	if len(undone) == 0 {
		return cause.Error()
	}
	texts := []string{cause.Error()}
	for _, err := range undone {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ") + "; put that right on the host, then repave it"
}

// conclude journals the result and then publishes it: a result that was told but
// is not on disk would be followed by the same operation once more. It returns
// false when the record was not allowed, or the process is to end.
func (x *execution) conclude(ctx context.Context, allowed func([]journal.Record) error, record journal.Record) bool {
	last := x.live.snapshot()
	record.Kind, record.At = journal.Ended, x.engine.opt.Now()
	record.Percent, record.Lines = last.GetPercent(), last.GetLogLines()
	refused := false
	if !x.insist(ctx, func(context.Context) error {
		err := x.journalEnd(allowed, record)
		if refused = errors.Is(err, errTurned); refused {
			return nil
		}
		return err
	}) {
		x.log.Warn("the operation's result is not on disk; the next start goes on with it")
		return false
	}
	if refused {
		return false
	}
	state := stateOf(record)
	x.log.Info("operation ended", zap.Stringer("state", state), zap.String("step", record.Step), zap.String("message", record.Message))
	x.live.update(func(p *agentv1.OperationProgress) {
		p.State, p.Step, p.Message, p.EndedAt = state, record.Step, record.Message, timestamppb.New(record.At)
		p.Abortable, p.EstimatedEndAt = false, nil
		if record.Success {
			p.Percent = 100
		}
	})
	// Last: nobody waits for it.
	x.engine.history.save()
	return true
}

// stateOf is the state of an operation with this last record.
func stateOf(record journal.Record) agentv1.OperationState {
	switch {
	case record.Success:
		return agentv1.OperationState_OPERATION_STATE_SUCCEEDED
	case record.Aborted:
		return agentv1.OperationState_OPERATION_STATE_ABORTED
	default:
		return agentv1.OperationState_OPERATION_STATE_FAILED
	}
}

// journalEnd puts the last record on disk.
func (x *execution) journalEnd(allowed func([]journal.Record) error, record journal.Record) error {
	err := x.journal.End(allowed, record)
	if err == nil || errors.Is(err, errTurned) {
		return err
	}
	if _, ended := x.journal.Result(); ended {
		x.log.Warn("cannot remove the bytes of an ended operation; the next start does", zap.Error(err))
		return nil
	}
	return fmt.Errorf("%w; free space on the disk of hybrid-agent-op's state", err)
}
