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
	return askWithin(ctx, askTimeout, socket, call)
}

// askWithin is ask for what takes its time.
func askWithin[T any](ctx context.Context, limit time.Duration, socket string, call func(context.Context, localv1.LocalServiceClient) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var none T
	// The socket itself says who calls; there is nothing to encrypt.
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return none, &exitError{exitUnreachable, fmt.Errorf("cannot reach the daemon at %s: %w", socket, err)}
	}
	defer func() { _ = conn.Close() }()
	answer, err := call(ctx, localv1.NewLocalServiceClient(conn))
	if err == nil {
		return answer, nil
	}
	return none, daemonError(socket, err)
}

// daemonError says what kept the daemon from answering; its exit code is 3.
func daemonError(socket string, err error) error {
	switch text := status.Convert(err).Message(); status.Code(err) {
	case codes.PermissionDenied, codes.ResourceExhausted:
		err = fmt.Errorf("the daemon at %s refuses: %s", socket, text)
	case codes.Unimplemented:
		err = fmt.Errorf("the daemon at %s does not know this call: it is of an older version; restart hybrid-agent.service", socket)
	default:
		err = fmt.Errorf("cannot reach the daemon at %s: %s; is hybrid-agent.service running, and may you use the socket (group hybrid-agent-status)?", socket, text)
	}
	return &exitError{exitUnreachable, err}
}
