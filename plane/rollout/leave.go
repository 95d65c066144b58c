package rollout

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"hybridagent/plane/fleet"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// leaving: the host is a node by this plane's doing, and no pool of its cluster
// wants it. A host that moves to another pool of the same cluster is repaved; a
// change of access management alone is a repave too, since nodeadm installs anew.
func leaving(r *record, v fleet.View) bool {
	switch {
	case r.Member == nil || v.Assignment == nil || v.Stream == 0 || !v.Reported || v.Status.GetAppliedNodeDigest() == "":
		return false
	case v.Assignment.GetPool() == "":
		return true
	default:
		return moved(r, v)
	}
}

// moved: the host is in a pool of another cluster than its node.
func moved(r *record, v fleet.View) bool {
	m, pool, node := r.Member, v.Assignment.GetPool(), v.Assignment.GetNode()
	return m != nil && pool != "" && pool != m.Pool && (m.Cluster != node.GetClusterName() || m.Region != node.GetRegion())
}

// worthLeaving: never the same again by itself, unless the host was in a pool
// meanwhile.
func worthLeaving(last *order, v fleet.View) bool {
	return last == nil || last.kind() != agentv1.OperationKind_OPERATION_KIND_LEAVE || last.EnrolledAt != v.EnrolledAt ||
		last.State != agentv1.OperationState_OPERATION_STATE_SUCCEEDED && last.Generation != v.Generation
}

// joins is what a node belongs to that is made, or kept, as the host is assigned.
func joins(v fleet.View) (*member, error) {
	drain, err := proto.MarshalOptions{Deterministic: true}.Marshal(v.Drain)
	if err != nil {
		return nil, err
	}
	node := v.Assignment.GetNode()
	return &member{Pool: v.Assignment.GetPool(), Cluster: node.GetClusterName(), Region: node.GetRegion(), Drain: drain}, nil
}

func (m *member) same(other *member) bool {
	return m != nil && m.Pool == other.Pool && m.Cluster == other.Cluster && m.Region == other.Region && slices.Equal(m.Drain, other.Drain)
}

// drain options of the pool that the node belongs to; nil: the defaults.
func (m *member) drain() (*agentv1.DrainOptions, error) {
	if m == nil || len(m.Drain) == 0 {
		return nil, nil
	}
	d := &agentv1.DrainOptions{}
	return d, proto.Unmarshal(m.Drain, d)
}

// remember is the record with what the node of a host belongs to; changed says
// whether that is news.
func remember(r record, v fleet.View) (next record, changed bool, err error) {
	if v.Status.GetAppliedNodeDigest() == "" || v.Assignment.GetPool() == "" || moved(&r, v) {
		return r, false, nil
	}
	if l := r.Last; l != nil && l.kind() == agentv1.OperationKind_OPERATION_KIND_LEAVE && l.State == agentv1.OperationState_OPERATION_STATE_SUCCEEDED && r.Member == nil {
		return r, false, nil // what it says of a node is from before it left
	}
	m, err := joins(v)
	if err != nil || r.Member.same(m) {
		return r, false, err
	}
	r.Member = m
	return r, true, nil
}
