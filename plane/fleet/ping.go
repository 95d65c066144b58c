package fleet

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/auth"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Ping answers a host that holds an identity. It reads one key and changes
// nothing: a host that asks on a second connection keeps its stream, and a key
// that it is about to replace stays good.
func (f *Fleet) Ping(ctx context.Context, _ *agentv1.PingRequest) (*agentv1.PingResponse, error) {
	id, key, err := auth.Host(ctx)
	if err != nil {
		return nil, err
	}
	who, rev, err := f.readIdentity(ctx, id)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "the plane cannot read the host's identity: %v", err)
	}
	if err := who.holds(id, key, rev); err != nil {
		return nil, err
	}
	return &agentv1.PingResponse{}, nil
}
