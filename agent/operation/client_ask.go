package operation

import (
	"context"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// forecastTimeout bounds a forecast: it asks the Kubernetes API which pods may be
// evicted, and servers how much would be fetched.
const forecastTimeout = 2 * time.Minute

// Abort has the operation with this ID ended, or with an empty ID the one that
// runs, and returns its ID. It is noted on disk when Abort returns; Follow shows
// what becomes of it. For local root only: the daemon's user is refused.
func (c *Client) Abort(ctx context.Context, id string) (string, error) {
	reply, err := c.ask(ctx, answerTimeout, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_Abort{Abort: &agentv1.AbortRequest{OperationId: id}}})
	if err != nil {
		return "", err
	}
	if reply.GetAbort() == nil {
		return "", unexpected(reply)
	}
	return reply.GetAbort().GetOperationId(), nil
}

// Forecast returns what an operation would do now. It changes nothing and may
// take up to two minutes.
func (c *Client) Forecast(ctx context.Context, request *agentv1.ForecastRequest) (*agentv1.Forecast, error) {
	reply, err := c.ask(ctx, forecastTimeout, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_Forecast{Forecast: request}})
	if err != nil {
		return nil, err
	}
	if reply.GetForecast() == nil {
		return nil, unexpected(reply)
	}
	return reply.GetForecast(), nil
}

// SetNodeLabels brings the labels of the NodePool to the Node: all of them, at most
// 64. Those that an earlier call set and this one lacks are removed. The reply
// names those that a node may not give itself.
func (c *Client) SetNodeLabels(ctx context.Context, labels map[string]string) (*agentv1.SetNodeLabelsReply, error) {
	request := &agentv1.SetNodeLabelsRequest{Labels: labels}
	reply, err := c.ask(ctx, answerTimeout, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_SetNodeLabels{SetNodeLabels: request}})
	if err != nil {
		return nil, err
	}
	if reply.GetSetNodeLabels() == nil {
		return nil, unexpected(reply)
	}
	return reply.GetSetNodeLabels(), nil
}

// NudgeSSMAgent has the SSM agent started anew, and reports whether it was: not
// where it does not run, or was nudged a short while ago.
func (c *Client) NudgeSSMAgent(ctx context.Context) (bool, error) {
	reply, err := c.ask(ctx, answerTimeout, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_NudgeSsmAgent{NudgeSsmAgent: &agentv1.NudgeSSMAgentRequest{}}})
	if err != nil {
		return false, err
	}
	if reply.GetNudgeSsmAgent() == nil {
		return false, unexpected(reply)
	}
	return reply.GetNudgeSsmAgent().GetRestarted(), nil
}

// SubmitLocal has an operation run that nobody signed, and follows it like Submit:
// a repave of what is in force (a repair), or a leave. For local root only. After
// ErrInterrupted the operation may run: follow the last one before asking again.
func (c *Client) SubmitLocal(ctx context.Context, kind agentv1.OperationKind, force bool, onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	request := &agentv1.SubmitLocalRequest{Kind: kind, Force: force}
	return c.follow(ctx, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_SubmitLocal{SubmitLocal: request}}, onProgress)
}
