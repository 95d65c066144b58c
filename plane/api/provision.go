package api

import (
	"context"
	"errors"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/auth"
	"hybridagent/plane/rollout"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Provision has a failed provisioning tried again.
func (s *Server) Provision(ctx context.Context, req *planev1.ProvisionRequest) (*planev1.ProvisionResponse, error) {
	if s.fleet.HostStatus(req.GetHostId()) == nil {
		return nil, noHost(req.GetHostId())
	}
	err := s.ops.Retry(ctx, req.GetHostId(), req.GetForce())
	switch {
	case errors.Is(err, rollout.ErrNothingToRetry):
		return nil, status.Errorf(codes.FailedPrecondition, "host %q: %v; provisioning begins by itself once the host is in a pool and ready", req.GetHostId(), err)
	case err != nil:
		return nil, unavailable(err)
	}
	operator, _ := auth.Operator(ctx)
	s.log.Info("provisioning is tried again", zap.String("operator", operator), zap.String("host_id", req.GetHostId()), zap.Bool("force", req.GetForce()))
	return &planev1.ProvisionResponse{}, nil
}
