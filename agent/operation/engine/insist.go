package engine

import (
	"context"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// undoPatience bounds the stopping of one run, and the undoing of a step that
// asks for no other time.
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
		if !x.wait(ctx, pause) {
			return false
		}
	}
}

// wait returns false when the process is to end first.
func (x *execution) wait(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// stopping ends a run that may be left of a try.
func (x *execution) stopping(id string) func(context.Context) error {
	return func(ctx context.Context) error { return x.engine.stopRun(ctx, id) }
}

func (x *execution) appending(record journal.Record) func(context.Context) error {
	return func(context.Context) error { return x.append(record) }
}
