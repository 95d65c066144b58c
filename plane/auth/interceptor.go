package auth

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Unary refuses calls whose caller may not make them.
func Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := allow(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

// Stream refuses streams whose caller may not open them.
func Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := allow(ss.Context(), info.FullMethod); err != nil {
		return err
	}
	return handler(srv, ss)
}

// allow is a closed list: a service that is not in it is refused.
func allow(ctx context.Context, method string) error {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	switch service {
	case planev1.PlaneService_ServiceDesc.ServiceName:
		_, err := Operator(ctx)
		return err
	case agentv1.AgentService_ServiceDesc.ServiceName:
		_, _, err := Host(ctx)
		return err
	case agentv1.EnrollmentService_ServiceDesc.ServiceName:
		return nil
	default:
		return status.Errorf(codes.PermissionDenied, "service %s is not open to anybody", service)
	}
}
