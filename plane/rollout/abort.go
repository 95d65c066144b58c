package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/plane/fleet"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// ErrNoOperation says that the host has no such operation.
var ErrNoOperation = errors.New("there is no such operation")

// NotAbortableError says why an operation cannot be ended.
type NotAbortableError struct{ Why string }

func (e *NotAbortableError) Error() string { return e.Why }

// Abort ends the pending operation of a host; an empty id means whichever it is. One
// that cannot have reached the host is withdrawn; else an abort is signed, which the
// host carries out by taking back what it has changed. It answers the ID of the
// operation that ends, ErrNoOperation or a NotAbortableError.
func (c *Controller) Abort(ctx context.Context, hostID, id, by string) (ended string, withdrawn bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, known := c.cfg.Hosts.View(hostID)
	r := c.record(hostID)
	if err := refuseAbort(r, v, id); err != nil {
		return "", false, err
	}
	id = r.Pending.ID
	defer c.cfg.Hosts.Changed(hostID)
	if !known || !r.maybeSent && r.sentOn == 0 {
		next, o := r.end(r.Pending.aborted("withdrawn by "+by+" before it was sent", c.cfg.Now()))
		return id, true, c.finish(ctx, hostID, next, o)
	}
	if r.Abort != nil {
		return id, false, nil // asked for already
	}
	next := r
	next.Abort, err = c.order(&next, v, &agentv1.Operation{
		Kind:     agentv1.OperationKind_OPERATION_KIND_ABORT,
		Deadline: durationpb.New(abortDeadline),
		Abort:    &agentv1.AbortOrder{OperationId: id},
	})
	if err != nil {
		return "", false, err
	}
	next.abortSentOn = 0
	if err := c.save(ctx, hostID, &next); err != nil {
		return "", false, err
	}
	c.cfg.Log.Info("abort is signed", zap.String("host_id", hostID), zap.String("op_id", id), zap.String("operator", by))
	return id, false, c.sendAbort(hostID, next, v)
}

func refuseAbort(r record, v fleet.View, id string) error {
	p := r.Pending
	for _, o := range []*order{r.Last, r.LastSwitch} {
		if o != nil && id != "" && o.ID == id {
			return &NotAbortableError{fmt.Sprintf("%s %s has ended", kindWord(o.kind()), id)}
		}
	}
	switch said := v.Operation; {
	case p == nil || id != "" && p.ID != id:
		return ErrNoOperation
	case p.Switch != nil:
		return &NotAbortableError{fmt.Sprintf("live network switch %s goes back by itself where it does not serve; 'hybrid-agent network rollback' on the host ends it at once", p.ID)}
	case said.GetOperationId() == p.ID && said.GetState() == agentv1.OperationState_OPERATION_STATE_RUNNING && !said.GetAbortable():
		return &NotAbortableError{fmt.Sprintf("%s %s is past the point of return, at %s; wait for its end", kindWord(p.kind()), p.ID, said.GetStep())}
	default:
		return nil
	}
}

// aborted is the order, ended by an operator.
func (o order) aborted(why string, now time.Time) order {
	o.State, o.Message, o.EndedAt = agentv1.OperationState_OPERATION_STATE_ABORTED, why, now
	return o
}

// abortAnswer is how long the answer to an abort may take that a host with an open
// stream was sent.
const abortAnswer = 2 * time.Minute

// concludeAbort ends the pending operation where the host has answered its abort, or
// does not, and never began it: it is not sent any more.
func concludeAbort(r record, v fleet.View, now time.Time) (record, *order) {
	if r.Pending == nil || r.Abort == nil || !untouched(r.Pending, v) {
		return r, nil
	}
	answered := v.Abort.GetOperationId() == r.Abort.ID && final(v.Abort.GetState())
	silent := v.Reported && v.Stream == r.abortSentOn && now.Sub(r.Abort.SignedAt) >= abortAnswer
	if !answered && !silent {
		return r, nil
	}
	return r.end(r.Pending.aborted("aborted before the host had begun it", now))
}

// abortRefused is the record without an abort that the host refused while the
// operation goes on.
func abortRefused(r record, v fleet.View) (record, bool) {
	if r.Pending == nil || r.Abort == nil || v.Abort.GetOperationId() != r.Abort.ID || untouched(r.Pending, v) {
		return r, false
	}
	switch v.Abort.GetState() {
	case agentv1.OperationState_OPERATION_STATE_REFUSED, agentv1.OperationState_OPERATION_STATE_FAILED:
		p := *r.Pending
		p.Remark = "the host refused to abort it: " + v.Abort.GetMessage()
		r.Pending, r.Abort = &p, nil
		return r, true
	}
	return r, false
}

// sendAbort sends the abort to a stream that has not got it.
func (c *Controller) sendAbort(id string, r record, v fleet.View) error {
	if r.Abort == nil || v.Stream == 0 || v.Stream == r.abortSentOn {
		return nil
	}
	env, err := r.Abort.signed()
	if err != nil {
		return err
	}
	if c.cfg.Hosts.SendOperation(id, v.Stream, env) {
		r.abortSentOn = v.Stream
		c.keep(id, &r)
	}
	return nil
}
