package local

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// maxWatchers and maxPlans bound who is served at once: each takes a connection of
// the daemon to hybrid-agent-op, of which it needs some for itself.
const (
	maxWatchers = 4
	maxPlans    = 1
)

// WatchOperation is part of LocalService.
func (s *Server) WatchOperation(request *localv1.WatchOperationRequest, stream localv1.LocalService_WatchOperationServer) error {
	id := request.GetOperationId()
	if id != "" && !operation.ValidID(id) {
		return status.Error(codes.NotFound, "an operation's ID has 26 lowercase letters and digits")
	}
	leave, err := take(s.watchers, "operations are watched")
	if err != nil {
		return err
	}
	defer leave()
	err = s.source.WatchOperation(stream.Context(), id, func(progress *agentv1.OperationProgress) error {
		return stream.Send(&localv1.WatchOperationResponse{Operation: progress})
	})
	return rpcError(err, codes.NotFound)
}

// PlanOperation is part of LocalService.
func (s *Server) PlanOperation(ctx context.Context, request *localv1.PlanOperationRequest) (*localv1.PlanOperationResponse, error) {
	leave, err := take(s.plans, "forecasts are made")
	if err != nil {
		return nil, err
	}
	defer leave()
	forecast, err := s.source.PlanOperation(ctx, request.GetKind())
	if err != nil {
		return nil, rpcError(err, codes.FailedPrecondition)
	}
	return &localv1.PlanOperationResponse{Forecast: forecast}, nil
}

// take takes one of a bounded number of places; leave gives it back.
func take(places chan struct{}, what string) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, status.Errorf(codes.ResourceExhausted, "%d %s already; try again in a moment", cap(places), what)
	}
}

// rpcError is an error for the caller: refused is the code of a request that does
// not fit this host.
func rpcError(err error, refused codes.Code) error {
	if err == nil {
		return nil
	}
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) {
		return status.Error(codes.Unavailable, err.Error())
	}
	switch refusal.Reason {
	case agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY:
		return status.Error(codes.ResourceExhausted, refusal.Message)
	case agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FAILED:
		return status.Error(codes.Unavailable, refusal.Message)
	default:
		return status.Error(refused, refusal.Message)
	}
}
