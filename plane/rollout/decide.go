package rollout

import (
	"time"

	"hybridagent/plane/fleet"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// How long operations may take on a host.
const (
	provisionDeadline = 15 * time.Minute
	repaveDeadline    = time.Hour
	leaveDeadline     = time.Hour
	abortDeadline     = 15 * time.Minute
)

type action int

const (
	actNothing action = iota
	actSend           // the pending operation, to a stream that has not got it
	actSign           // a provisioning, in place of a pending one that is out of date
	actLeave          // a leave, in place of a pending one that is out of date
	actDrop           // the pending operation: nobody wants it any more
)

// decide says what is to be done for a host by itself; its turn in a rollout is
// decided by the rollout.
func decide(r *record, v fleet.View) action {
	p := r.Pending
	switch {
	case p == nil:
		return decideNew(r, v)
	case p.Switch != nil:
		return decideSwitch(r, v)
	case r.Abort != nil:
		return actNothing // never sent any more: the abort is higher in sequence
	case leaving(r, v) && untouched(p, v) && !wanted(r, v) && v.Stream != r.sentOn:
		return actLeave
	case outdated(r, v):
		return actSign
	case obsolete(r, v):
		return actDrop
	case v.Stream != 0 && v.Stream != r.sentOn && wanted(r, v):
		return actSend
	default:
		return actNothing
	}
}

// decideNew is decide for a host with no operation pending.
func decideNew(r *record, v fleet.View) action {
	switch {
	case leaving(r, v) && worthLeaving(r.Last, v):
		return actLeave
	case ready(v) && worthTrying(r.Last, v):
		return actSign
	default:
		return actNothing
	}
}

// ready: the host holds what the plane wants, is no node yet, and says that
// nothing is in the way.
func ready(v fleet.View) bool {
	return v.Stream != 0 &&
		v.Assignment.GetPool() != "" &&
		v.Status.GetReadyToProvision() &&
		v.Status.GetAppliedNodeDigest() == "" &&
		v.Status.GetNodeIp() != "" &&
		v.Status.GetGeneration() == v.Generation &&
		v.Result.GetAccepted() && v.Result.GetGeneration() == v.Generation
}

// worthTrying: never the same again by itself. After a success only a host that
// has enrolled anew, which is how a reinstalled one comes back; after a failure
// also one whose assignment or node IP is another.
func worthTrying(last *order, v fleet.View) bool {
	switch {
	case last == nil || last.EnrolledAt != v.EnrolledAt:
		return true
	case last.State == agentv1.OperationState_OPERATION_STATE_SUCCEEDED:
		return last.kind() == agentv1.OperationKind_OPERATION_KIND_LEAVE
	default:
		return last.Generation != v.Generation || last.NodeIP != v.Status.GetNodeIp()
	}
}

// wanted: the pending operation brings about what the plane wants of this very
// installation of the host. One that a host missed before it left its pool, or
// was removed and enrolled anew, must not reach it any more.
func wanted(r *record, v fleet.View) bool {
	p := r.Pending
	if p.EnrolledAt != v.EnrolledAt {
		return false
	}
	if p.kind() == agentv1.OperationKind_OPERATION_KIND_LEAVE {
		return v.Assignment.GetPool() == "" || moved(r, v)
	}
	return p.NodeDigest == v.Assignment.GetNodeDigest()
}

// untouched: the host has not said a word of the pending operation. One that has
// begun is left to end.
func untouched(p *order, v fleet.View) bool { return v.Operation.GetOperationId() != p.ID }

// outdated: the pending operation is untouched, and the host would be sent another
// provisioning today.
func outdated(r *record, v fleet.View) bool {
	p := r.Pending
	return ready(v) && untouched(p, v) &&
		(!wanted(r, v) || p.NodeIP != v.Status.GetNodeIp() && p.kind() != agentv1.OperationKind_OPERATION_KIND_LEAVE)
}

// obsolete: the pending repave or leave is untouched, and nobody wants it; the
// rollout signs another. It goes only where this stream has not brought it: the host
// may be about to begin.
func obsolete(r *record, v fleet.View) bool {
	p := r.Pending
	switch {
	case !drains(p.kind()) || !untouched(p, v) || !v.Reported || v.Stream == r.sentOn:
		return false
	case p.kind() == agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return !wanted(r, v)
	default:
		took := v.Result.GetAccepted() && v.Result.GetGeneration() == v.Generation && v.Status.GetGeneration() == v.Generation
		return took && (!wanted(r, v) || p.NodeIP != repaveIP(v))
	}
}

// retryable: the pending operation was sent, and all that the host says is that it
// has refused one.
func retryable(r *record, v fleet.View) bool {
	return r.Pending != nil && r.Pending.Switch == nil && v.Operation.GetOperationId() != r.Pending.ID && v.RefusedOne()
}

// conclude takes the end of the pending operation from the host's report; ended
// is nil when there is none.
func conclude(r record, p *agentv1.OperationProgress, now time.Time) (next record, ended *order) {
	if r.Pending == nil || p.GetOperationId() != r.Pending.ID || !final(p.GetState()) {
		return r, nil
	}
	return r.end(r.Pending.as(p, now))
}

func final(s agentv1.OperationState) bool {
	switch s {
	case agentv1.OperationState_OPERATION_STATE_SUCCEEDED, agentv1.OperationState_OPERATION_STATE_FAILED,
		agentv1.OperationState_OPERATION_STATE_REFUSED, agentv1.OperationState_OPERATION_STATE_ABORTED:
		return true
	default:
		return false
	}
}

// as is the order, ended as the host says.
func (o order) as(p *agentv1.OperationProgress, now time.Time) order {
	o.State, o.Step, o.Percent, o.Message, o.EndedAt = p.GetState(), p.GetStep(), p.GetPercent(), p.GetMessage(), now
	return o
}

// next is the sequence after the last one: counters begin anew in each epoch.
func next(r record, epoch uint64) (uint64, uint64) {
	if epoch > r.Epoch {
		return epoch, 1
	}
	return r.Epoch, r.Counter + 1
}
