package rollout

import (
	"crypto/rand"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/fleet"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// provision is the next operation of a host that is no node yet.
func (c *Controller) provision(r record, v fleet.View) (record, error) {
	digest, err := c.imageDigest(v)
	if err != nil {
		return r, err
	}
	return c.signNode(r, v, &agentv1.Operation{
		Kind:          agentv1.OperationKind_OPERATION_KIND_PROVISION,
		Node:          nodeOf(v),
		NodeDigest:    v.Assignment.GetNodeDigest(),
		NodeIp:        v.Status.GetNodeIp(),
		Deadline:      durationpb.New(provisionDeadline),
		OsImageDigest: digest,
	})
}

// repave is the next operation of a node whose turn it is.
func (c *Controller) repave(r record, v fleet.View, how Manner) (record, error) {
	if how.ReconfigureOnly {
		return c.signNode(r, v, &agentv1.Operation{
			Kind:       agentv1.OperationKind_OPERATION_KIND_RECONFIGURE,
			Node:       nodeOf(v),
			NodeDigest: v.Assignment.GetNodeDigest(),
			NodeIp:     repaveIP(v),
			Deadline:   durationpb.New(provisionDeadline),
			Force:      how.Force,
		})
	}
	digest, err := c.imageDigest(v)
	if err != nil {
		return r, err
	}
	return c.signNode(r, v, &agentv1.Operation{
		Kind:          agentv1.OperationKind_OPERATION_KIND_REPAVE,
		Node:          nodeOf(v),
		NodeDigest:    v.Assignment.GetNodeDigest(),
		NodeIp:        repaveIP(v),
		Deadline:      durationpb.New(repaveDeadline),
		Drain:         v.Drain,
		Force:         how.Force,
		OsImageDigest: digest,
	})
}

// nodeOf is the node part of a host's assignment with the secret that only an
// operation carries.
func nodeOf(v fleet.View) *agentv1.NodeSpec {
	if v.ActivationCode == "" {
		return v.Assignment.GetNode()
	}
	node := proto.CloneOf(v.Assignment.GetNode())
	if ssm := node.GetAccess().GetSsm(); ssm != nil {
		ssm.ActivationCode = v.ActivationCode
	}
	return node
}

// signNode signs an operation that brings the host's assignment about, and
// remembers what the node belongs to from then on.
func (c *Controller) signNode(r record, v fleet.View, op *agentv1.Operation) (record, error) {
	m, err := joins(v)
	if err != nil {
		return r, fmt.Errorf("cannot encode the drain options of host %s: %w", v.HostID, err)
	}
	r.Member = m
	return c.sign(r, v, op, nil)
}

// leave is the next operation of a node that no pool of its cluster wants. It
// carries no node part: what is to be taken off the host its root knows best.
func (c *Controller) leave(r record, v fleet.View) (record, error) {
	drain, err := r.Member.drain()
	if err != nil {
		return r, fmt.Errorf("cannot decode the drain options of host %s: %w", v.HostID, err)
	}
	return c.sign(r, v, &agentv1.Operation{
		Kind:     agentv1.OperationKind_OPERATION_KIND_LEAVE,
		Deadline: durationpb.New(leaveDeadline),
		Drain:    drain,
		Force:    r.ForceLeave,
	}, nil)
}

// sign makes an operation the next one of a host; it is not sent before it is
// saved.
func (c *Controller) sign(r record, v fleet.View, op *agentv1.Operation, change *switchOrder) (record, error) {
	o, err := c.order(&r, v, op)
	if err != nil {
		return r, err
	}
	o.Switch = change
	r.Pending, r.Abort, r.sentOn, r.maybeSent = o, nil, 0, false
	return r, nil
}

// order numbers and signs an operation; the record has its sequence then.
func (c *Controller) order(r *record, v fleet.View, op *agentv1.Operation) (*order, error) {
	now := c.cfg.Now()
	r.Epoch, r.Counter = next(*r, c.epoch)
	op.Id = strings.ToLower(rand.Text()) // 26 letters and digits, 128 random bits
	op.HostId = v.HostID
	op.Sequence = &agentv1.Sequence{Epoch: r.Epoch, Counter: r.Counter}
	op.SignedAt = timestamppb.New(now)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		return nil, fmt.Errorf("cannot encode an operation for host %s: %w", v.HostID, err)
	}
	signed, err := c.cfg.Signer.SignOperation(b)
	if err != nil {
		return nil, err
	}
	envelope, err := proto.Marshal(signed)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the envelope of operation %s: %w", op.GetId(), err)
	}
	return &order{
		ID: op.GetId(), Kind: op.GetKind(), Envelope: envelope, Generation: v.Generation, NodeDigest: op.GetNodeDigest(),
		NodeIP: op.GetNodeIp(), EnrolledAt: v.EnrolledAt, SignedAt: now,
	}, nil
}
