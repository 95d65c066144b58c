package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	localv1 "hybridagent/proto/hybrid/local/v1"
)

const (
	defaultSocket = "/run/hybrid-agent/agent.sock"
	askTimeout    = 5 * time.Second
)

// ask calls the daemon; an error has the exit code 3.
func ask[T any](ctx context.Context, socket string, call func(context.Context, localv1.LocalServiceClient) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var none T
	// The socket itself says who calls; there is nothing to encrypt.
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return none, &exitError{exitUnreachable, fmt.Errorf("cannot reach the daemon at %s: %w", socket, err)}
	}
	defer func() { _ = conn.Close() }()
	answer, err := call(ctx, localv1.NewLocalServiceClient(conn))
	switch status.Code(err) {
	case codes.OK:
		return answer, nil
	case codes.PermissionDenied:
		err = fmt.Errorf("the daemon at %s refuses: %s", socket, status.Convert(err).Message())
	default:
		err = fmt.Errorf("cannot reach the daemon at %s: %s; is hybrid-agent.service running, and may you use the socket (group hybrid-agent-status)?",
			socket, status.Convert(err).Message())
	}
	return none, &exitError{exitUnreachable, err}
}
