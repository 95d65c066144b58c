package local

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	localv1 "hybridagent/proto/hybrid/local/v1"
)

// act runs one of the Actor's methods and answers the network that it left.
func (s *Server) act(do func() error) (*localv1.NetworkState, error) {
	if err := do(); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	return s.source.Status().GetNetwork(), nil
}

// ConfirmNetwork is part of LocalService.
func (s *Server) ConfirmNetwork(context.Context, *localv1.ConfirmNetworkRequest) (*localv1.ConfirmNetworkResponse, error) {
	network, err := s.act(s.actor.ConfirmNetwork)
	if err != nil {
		return nil, err
	}
	return &localv1.ConfirmNetworkResponse{Network: network}, nil
}

// RollbackNetwork is part of LocalService.
func (s *Server) RollbackNetwork(context.Context, *localv1.RollbackNetworkRequest) (*localv1.RollbackNetworkResponse, error) {
	network, err := s.act(s.actor.RollbackNetwork)
	if err != nil {
		return nil, err
	}
	return &localv1.RollbackNetworkResponse{Network: network}, nil
}

// RetryNetwork is part of LocalService.
func (s *Server) RetryNetwork(context.Context, *localv1.RetryNetworkRequest) (*localv1.RetryNetworkResponse, error) {
	network, err := s.act(s.actor.RetryNetwork)
	if err != nil {
		return nil, err
	}
	return &localv1.RetryNetworkResponse{Network: network}, nil
}
