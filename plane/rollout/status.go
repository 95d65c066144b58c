package rollout

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/fleet"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Operation answers where an operation of a host stands; nil: it is neither
// pending nor the last of its kind. An empty ID means the pending one, else the last
// one on the node.
func (c *Controller) Operation(hostID, operationID string) *planev1.OperationStatus {
	r := c.peek(hostID)
	for _, o := range []*order{r.Pending, r.Last, r.LastSwitch} {
		if o != nil && (o.ID == operationID || operationID == "") {
			v, _ := c.cfg.Hosts.View(hostID)
			return o.status(v)
		}
	}
	return nil
}

// NetworkSwitch answers the live network switch of a host that is pending or
// ended last; nil: there was none.
func (c *Controller) NetworkSwitch(hostID string) *planev1.OperationStatus {
	r := c.peek(hostID)
	o := r.LastSwitch
	if r.Pending != nil && r.Pending.Switch != nil {
		o = r.Pending
	}
	if o == nil {
		return nil
	}
	v, _ := c.cfg.Hosts.View(hostID)
	return o.status(v)
}

// status puts the host's words and the plane's conclusion together: until the
// plane has drawn it, an operation runs, whatever the host says of its end.
func (o *order) status(v fleet.View) *planev1.OperationStatus {
	p := &agentv1.OperationProgress{}
	for _, said := range []*agentv1.OperationProgress{v.NetworkSwitch, v.Operation} {
		if said.GetOperationId() == o.ID {
			p = proto.CloneOf(said)
		}
	}
	s := &planev1.OperationStatus{Progress: p, Remark: o.Remark}
	if !o.SignedAt.IsZero() {
		s.SignedAt = timestamppb.New(o.SignedAt)
	}
	if o.Switch != nil {
		s.VpnServers, s.AnswerBy = o.Switch.VPNServers, timestamppb.New(o.Switch.AnswerBy)
	}
	if o.State == 0 {
		o.waits(s, v)
		if o.Remark != "" {
			s.Remark = o.Remark
		}
		return s
	}
	p.OperationId, p.Kind, p.State = o.ID, o.kind(), o.State
	p.Step, p.Percent, p.Message = o.Step, o.Percent, o.Message
	if !o.EndedAt.IsZero() {
		p.EndedAt = timestamppb.New(o.EndedAt)
	}
	return s
}

// waits says what a pending operation waits for.
func (o *order) waits(s *planev1.OperationStatus, v fleet.View) {
	p := s.GetProgress()
	switch {
	case final(p.GetState()):
		p.State, p.EndedAt = agentv1.OperationState_OPERATION_STATE_RUNNING, nil
		s.Remark = "the host has told the end; the plane is about to take it over"
	case v.Stream == 0:
		s.Remark = "the host is not connected; it is sent the operation when it is back"
	case p.GetOperationId() != "":
	case v.RefusedOne():
		s.Remark = "the host reports: " + v.Refusal()
	default:
		s.Remark = "sent to the host, which has not answered yet"
	}
	p.OperationId, p.Kind = o.ID, o.kind()
	if p.GetState() == agentv1.OperationState_OPERATION_STATE_UNSPECIFIED {
		p.State = agentv1.OperationState_OPERATION_STATE_PENDING
	}
}
