package agent

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// watchPoll is how often the progress of a live switch is looked at for those who
// watch it: it takes seconds, and the daemon runs it itself.
const watchPoll = 250 * time.Millisecond

// WatchOperation is part of local.Source. It goes on while hybrid-agent-op is
// restarted; the error is a *operation.Refusal where there is no such operation.
func (c *core) WatchOperation(ctx context.Context, id string, send func(*agentv1.OperationProgress) error) error {
	if own := c.ops.facts().own(id); own != nil {
		return c.watchOwn(ctx, id, send)
	}
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	seen := func(p *agentv1.OperationProgress) {
		id = p.GetOperationId() // of the one that runs, whatever runs later
		if err := send(p); err != nil {
			cancel(err)
		}
	}
	backoff := newOperationBackoff()
	for {
		_, err := c.ops.door.Follow(watched, id, seen)
		if !errors.Is(err, operation.ErrInterrupted) || watched.Err() != nil {
			return err
		}
		if !pause(watched, 100*time.Millisecond+backoff.Next()) {
			return context.Cause(watched)
		}
	}
}

// own is the progress of an operation that never reached root: a live switch, or
// one that was refused.
func (o operationFacts) own(id string) *agentv1.OperationProgress {
	for _, p := range []*agentv1.OperationProgress{o.netSwitch, o.refused} {
		if id != "" && p.GetOperationId() == id {
			return p
		}
	}
	return nil
}

// watchOwn sends the progress of an operation that the daemon runs itself.
func (c *core) watchOwn(ctx context.Context, id string, send func(*agentv1.OperationProgress) error) error {
	var last *agentv1.OperationProgress
	for {
		p := c.ops.facts().own(id)
		if p == nil {
			return nil // another came after its end
		}
		if !proto.Equal(p, last) {
			if err := send(p); err != nil {
				return err
			}
			last = p
		}
		if operation.Ended(p.GetState()) {
			return nil
		}
		if !pause(ctx, watchPoll) {
			return ctx.Err()
		}
	}
}

// PlanOperation is part of local.Source.
func (c *core) PlanOperation(ctx context.Context, kind agentv1.OperationKind) (*agentv1.Forecast, error) {
	request, err := c.planRequest(kind)
	if err != nil {
		return nil, err
	}
	return c.ops.door.Forecast(ctx, request)
}

// planRequest asks what an operation to what the plane wants now would do. The
// error is a *operation.Refusal where there is nothing to compare.
func (c *core) planRequest(kind agentv1.OperationKind) (*agentv1.ForecastRequest, error) {
	const (
		precondition = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION
		repave       = agentv1.OperationKind_OPERATION_KIND_REPAVE
		provision    = agentv1.OperationKind_OPERATION_KIND_PROVISION
	)
	if kind == agentv1.OperationKind_OPERATION_KIND_LEAVE {
		return &agentv1.ForecastRequest{Kind: kind}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := c.facts.assignment
	if wanted == nil || wanted.msg.GetNode() == nil {
		return nil, operation.Refuse(precondition, "the host is in no pool: there is nothing that the plane wants of it")
	}
	if !c.facts.net.selection.NodeIP.IsValid() {
		return nil, operation.Refuse(precondition, "no NIC is selected, so there is no node IP; see \"hybrid-agent nics\"")
	}
	if kind == 0 {
		if kind = repave; c.facts.node.state.GetAppliedNodeDigest() == "" {
			kind = provision
		}
	}
	return forecastFor(kind, wanted, c.nodeIPOf()), nil
}

// withoutSecrets is a node part as it may be shown.
func withoutSecrets(node *agentv1.NodeSpec) *agentv1.NodeSpec {
	shown := proto.CloneOf(node)
	if ssm := shown.GetAccess().GetSsm(); ssm != nil {
		ssm.ActivationCode = ""
	}
	return shown
}
