package agent

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Forecast is part of Door: the path is the kind asked for, the refusal what was
// sent of secrets.
func (d *fakeDoor) Forecast(_ context.Context, request *agentv1.ForecastRequest) (*agentv1.Forecast, error) {
	return &agentv1.Forecast{
		Path: operation.KindName(request.GetKind()), NodeDigest: request.GetNodeDigest(),
		Refusal: request.GetNode().GetAccess().GetSsm().GetActivationCode(),
	}, nil
}

// SetNodeLabels is part of Door.
func (d *fakeDoor) SetNodeLabels(context.Context, map[string]string) (*agentv1.SetNodeLabelsReply, error) {
	return &agentv1.SetNodeLabelsReply{}, nil
}

// NudgeSSMAgent is part of Door.
func (d *fakeDoor) NudgeSSMAgent(context.Context) (bool, error) { return false, nil }

// restarted is a door whose process ends once in the middle of an operation.
type restarted struct {
	Door
	asked []string
}

func (r *restarted) Follow(_ context.Context, id string, seen func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	r.asked = append(r.asked, id)
	p := &agentv1.OperationProgress{OperationId: "a", State: agentv1.OperationState_OPERATION_STATE_RUNNING}
	if len(r.asked) == 1 {
		seen(p)
		return nil, operation.ErrInterrupted
	}
	p.State = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
	seen(p)
	return p, nil
}

// TestWatchGoesOnOverRestarts follows the operation that it began with, whatever
// runs later.
func TestWatchGoesOnOverRestarts(t *testing.T) {
	t.Parallel()
	door := &restarted{}
	c := &core{ops: &operations{door: door}}
	var seen []string
	err := c.WatchOperation(t.Context(), "", func(p *agentv1.OperationProgress) error {
		seen = append(seen, operation.StateName(p.GetState()))
		return nil
	})
	if err != nil || len(seen) != 2 || seen[1] != "succeeded" || len(door.asked) != 2 || door.asked[1] != "a" {
		t.Errorf("seen %v, asked for %q, %v", seen, door.asked, err)
	}
}

// TestWatchOfTheDaemonsOwn: a live switch and a refusal are no operations of root's.
func TestWatchOfTheDaemonsOwn(t *testing.T) {
	t.Parallel()
	c := &core{ops: &operations{changed: func() {}}}
	c.ops.state = operationFacts{
		netSwitch: &agentv1.OperationProgress{OperationId: "switch", State: agentv1.OperationState_OPERATION_STATE_RUNNING},
		refused:   &agentv1.OperationProgress{OperationId: "refused", State: agentv1.OperationState_OPERATION_STATE_REFUSED},
	}
	var seen []string
	watch := func(id string) error {
		return c.WatchOperation(t.Context(), id, func(p *agentv1.OperationProgress) error {
			seen = append(seen, p.GetOperationId()+" "+operation.StateName(p.GetState()))
			c.ops.change(func(f *operationFacts) {
				f.netSwitch = &agentv1.OperationProgress{OperationId: "switch", State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED}
			})
			return nil
		})
	}
	if err := errors.Join(watch("refused"), watch("switch")); err != nil || len(seen) != 2 || seen[0] != "refused refused" || seen[1] != "switch succeeded" {
		t.Errorf("seen %q, %v", seen, err)
	}
	c.ops.state.netSwitch.State = agentv1.OperationState_OPERATION_STATE_RUNNING
	seen = nil
	if err := watch("switch"); err != nil || len(seen) != 2 || seen[1] != "switch succeeded" {
		t.Errorf("seen %q, %v", seen, err)
	}
}

func TestPlanOperation(t *testing.T) {
	t.Parallel()
	c := &core{ops: &operations{door: &fakeDoor{}}}
	refused := func(kind agentv1.OperationKind) {
		t.Helper()
		var refusal *operation.Refusal
		if _, err := c.PlanOperation(t.Context(), kind); !errors.As(err, &refusal) {
			t.Errorf("%v: %v, want a refusal", kind, err)
		}
	}
	const leave, repave = agentv1.OperationKind_OPERATION_KIND_LEAVE, agentv1.OperationKind_OPERATION_KIND_REPAVE
	requirePlan := func(kind agentv1.OperationKind, want string) {
		t.Helper()
		f, err := c.PlanOperation(t.Context(), kind)
		if err != nil || f.GetPath() != want || f.GetRefusal() != "" {
			t.Errorf("%v: %v, %v, want %s", kind, f, err, want)
		}
	}
	refused(0)
	requirePlan(leave, "leave")
	c.facts.assignment = &assignment{msg: &agentv1.Assignment{
		NodeDigest: "d", Node: &agentv1.NodeSpec{Access: &agentv1.AccessManagement{Method: &agentv1.AccessManagement_Ssm{
			Ssm: &agentv1.SSMAccess{ActivationId: "id", ActivationCode: "secret"}}}},
	}}
	refused(0)
	c.facts.net.selection.NodeIP = netip.MustParseAddr("10.0.0.1")
	requirePlan(0, "provision")
	c.facts.node.state = &agentv1.NodeState{AppliedNodeDigest: "other"}
	requirePlan(0, "repave")
	requirePlan(repave, "repave")
	if got := c.facts.assignment.msg.GetNode().GetAccess().GetSsm().GetActivationCode(); got != "secret" {
		t.Errorf("the assignment lost its secret: %q", got)
	}
}
