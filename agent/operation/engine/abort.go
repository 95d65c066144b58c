package engine

import (
	"errors"
	"fmt"
	"io/fs"

	"go.uber.org/zap"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Abort ends the operation under way and returns its ID: the step that is being
// done is cancelled, what was begun is taken back, and the operation ends as
// aborted. When it returns nil, that is on disk and will happen, also after a
// power cut. id names the operation; empty: whichever runs. by is who asked, as
// messages say it: local root, or the ID of a signed abort. Refused once the
// operation is past its point of return, has failed, or has ended.
func (e *Engine) Abort(id, by string) (string, error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.closed {
		return "", operation.Refuse(busy, "hybrid-agent-op is stopping; abort again in a moment")
	}
	x, err := e.target(id)
	if err != nil {
		return "", err
	}
	if turn, turned := journal.Turn(x.journal.Records()); turned && turn.Kind == journal.Abort {
		return x.op.GetId(), nil
	}
	return x.op.GetId(), x.abort(journal.Order{By: by})
}

// submitAbort does what a signed abort says. It needs no free engine, and its
// sequence counts like any other's.
func (e *Engine) submitAbort(op *agentv1.Operation, signed []byte, last journal.Sequence) error {
	place := placeOf(op)
	order := journal.Order{By: op.GetId(), Epoch: place.Epoch, Counter: place.Counter, SHA256: sumOf(signed)}
	_, noted, err := e.store.AbortOf(op.GetId())
	if err == nil && noted.Order.SHA256 != order.SHA256 {
		return operation.Refuse(malformed, "abort %s was accepted before with another content", op.GetId())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !same(place, last) && !last.Before(place) {
		return tooOld(place, last)
	}
	x, err := e.target(op.GetAbort().GetOperationId())
	if err != nil {
		return err
	}
	if err := x.abortable(x.journal.Records()); err != nil {
		return err
	}
	place.Running = last.Running
	if err := e.store.SetSequence(place); err != nil {
		return err
	}
	return x.abort(order)
}

// target returns the operation that an abort is for.
func (e *Engine) target(id string) (*execution, error) {
	switch {
	case !e.running():
		return nil, operation.Refuse(precondition, "there is nothing to abort: no operation runs on this host")
	case id != "" && id != e.current.op.GetId():
		return nil, operation.Refuse(precondition, "cannot abort operation %s: it does not run; operation %s does", clip(id), e.current.op.GetId())
	}
	return e.current, nil
}

// clip bounds a foreign ID in a message.
func clip(id string) string { return bounded(id, 64) }

// abort notes the order on disk and only then acts by it.
func (x *execution) abort(order journal.Order) error {
	record := journal.Record{Kind: journal.Abort, At: x.engine.opt.Now(), Order: &order}
	var refusal *operation.Refusal
	if err := x.journal.AppendIf(x.abortable, record); errors.As(err, &refusal) {
		return refusal
	} else if err != nil {
		return fmt.Errorf("cannot abort: %w; free space on the disk of hybrid-agent-op's state", err)
	}
	x.log.Info("operation aborted", zap.String("by", order.By))
	x.live.aborted(record)
	x.stop(&Aborted{By: order.By})
	return nil
}

// abortable refuses where nothing can be taken back, by the records.
func (x *execution) abortable(records []journal.Record) error {
	id := x.op.GetId()
	if result := records[len(records)-1]; result.Kind == journal.Ended {
		return operation.Refuse(precondition, "cannot abort operation %s: it has ended", id)
	}
	if journal.PastReturn(records) {
		return operation.Refuse(precondition, "cannot abort operation %s: it is past its point of return; let it end, then repave the host to where it was", id)
	}
	if turn, turned := journal.Turn(records); turned && turn.Kind == journal.Failing {
		return operation.Refuse(precondition, "cannot abort operation %s: it has failed, and what it changed is being taken back already", id)
	}
	return nil
}
