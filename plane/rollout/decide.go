package rollout

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/fleet"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// provisionDeadline is how long provisioning may take.
const provisionDeadline = 15 * time.Minute

type action int

const (
	actNothing action = iota
	actSend           // the pending operation, to a stream that has not got it
	actSign           // a new operation, in place of a pending one that is out of date
)

// decide says what is to be done for a host.
func decide(r *record, v fleet.View) action {
	if r.Pending != nil && r.Pending.Switch != nil {
		return decideSwitch(r, v)
	}
	if r.Pending == nil {
		if ready(v) && worthTrying(r.Last, v) {
			return actSign
		}
		return actNothing
	}
	if outdated(r.Pending, v) {
		return actSign
	}
	if v.Stream != 0 && v.Stream != r.sentOn && wanted(r.Pending, v) {
		return actSend
	}
	return actNothing
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
		return false
	default:
		return last.Generation != v.Generation || last.NodeIP != v.Status.GetNodeIp()
	}
}

// wanted: the pending operation brings about what the plane wants of this very
// installation of the host. One that a host missed before it left its pool, or
// was removed and enrolled anew, must not reach it any more.
func wanted(p *order, v fleet.View) bool {
	return p.NodeDigest == v.Assignment.GetNodeDigest() && p.EnrolledAt == v.EnrolledAt
}

// outdated: the host has not said a word of the pending operation, and would be
// sent another today. One that has begun is left to end.
func outdated(p *order, v fleet.View) bool {
	return ready(v) && v.Operation.GetOperationId() != p.ID &&
		(!wanted(p, v) || p.NodeIP != v.Status.GetNodeIp())
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
	case agentv1.OperationState_OPERATION_STATE_SUCCEEDED, agentv1.OperationState_OPERATION_STATE_FAILED, agentv1.OperationState_OPERATION_STATE_REFUSED:
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

// provision is the next operation of a host that is no node yet.
func (c *Controller) provision(r record, v fleet.View) (record, error) {
	return c.sign(r, v, &agentv1.Operation{
		Kind:       agentv1.OperationKind_OPERATION_KIND_PROVISION,
		Node:       v.Assignment.GetNode(),
		NodeDigest: v.Assignment.GetNodeDigest(),
		NodeIp:     v.Status.GetNodeIp(),
		Deadline:   durationpb.New(provisionDeadline),
	}, nil)
}

// sign makes an operation the next one of a host; it is not sent before it is
// saved.
func (c *Controller) sign(r record, v fleet.View, op *agentv1.Operation, change *switchOrder) (record, error) {
	now := c.cfg.Now()
	r.Epoch, r.Counter = next(r, c.epoch)
	op.Id = strings.ToLower(rand.Text()) // 26 letters and digits, 128 random bits
	op.HostId = v.HostID
	op.Sequence = &agentv1.Sequence{Epoch: r.Epoch, Counter: r.Counter}
	op.SignedAt = timestamppb.New(now)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		return r, fmt.Errorf("cannot encode an operation for host %s: %w", v.HostID, err)
	}
	signed, err := c.cfg.Signer.SignOperation(b)
	if err != nil {
		return r, err
	}
	envelope, err := proto.Marshal(signed)
	if err != nil {
		return r, fmt.Errorf("cannot encode the envelope of operation %s: %w", op.GetId(), err)
	}
	r.sentOn = 0
	r.Pending = &order{
		ID: op.GetId(), Envelope: envelope, Generation: v.Generation, NodeDigest: op.GetNodeDigest(),
		NodeIP: op.GetNodeIp(), EnrolledAt: v.EnrolledAt, Switch: change, SignedAt: now,
	}
	return r, nil
}

// next is the sequence after the last one: counters begin anew in each epoch.
func next(r record, epoch uint64) (uint64, uint64) {
	if epoch > r.Epoch {
		return epoch, 1
	}
	return r.Epoch, r.Counter + 1
}
