package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"hybridagent/plane/operator"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// maxAnswerBytes bounds what the plane may answer: lists of many hosts.
const maxAnswerBytes = 64 << 20

// call runs do with a connection to the plane, all of it within the timeout.
func (g *globals) call(ctx context.Context, do func(context.Context, planev1.PlaneServiceClient) error) error {
	return g.callFor(ctx, g.timeout, do)
}

// callFor is call where do may take longer than it takes to reach the plane.
func (g *globals) callFor(ctx context.Context, most time.Duration, do func(context.Context, planev1.PlaneServiceClient) error) error {
	if g.timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %s is not longer than nothing", g.timeout)}
	}
	file, err := g.readContext()
	if err != nil {
		return err
	}
	cfg, err := file.TLS()
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+file.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)))
	if err != nil {
		return fmt.Errorf("cannot prepare a connection to %s: %w", file.Address, err)
	}
	defer func() { _ = conn.Close() }()
	reached, stop := context.WithTimeout(ctx, g.timeout)
	defer stop()
	if !connected(reached, conn) {
		return unreachableError{unreachable(file.Address, cfg, g.timeout)}
	}
	return plain(do(ctx, planev1.NewPlaneServiceClient(conn)))
}

func (g *globals) readContext() (operator.Context, error) {
	path, err := g.contextPath()
	if err != nil {
		return operator.Context{}, err
	}
	file, err := operator.Read(path)
	if err != nil {
		return operator.Context{}, usageError{err}
	}
	return file, nil
}

// connected waits for the connection, and gives up on the first failure: an
// operator waits for an answer, not for a plane.
func connected(ctx context.Context, conn *grpc.ClientConn) bool {
	conn.Connect()
	for {
		s := conn.GetState()
		switch s {
		case connectivity.Ready:
			return true
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false
		}
		if !conn.WaitForStateChange(ctx, s) {
			return false
		}
	}
}

// unreachable says what stands between here and the plane. gRPC's own error
// wraps it in words of its own, so one more attempt is made by hand.
func unreachable(address string, cfg *tls.Config, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), min(timeout, 3*time.Second))
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot reach the plane at %s: %w; check that hybrid-plane runs there and that nothing on the way blocks TCP", address, err)
	}
	defer func() { _ = raw.Close() }()
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("cannot trust what answers at %s: %w; check that the context file is this plane's", address, err)
	}
	// With TLS 1.3 the plane refuses a client's certificate after the handshake.
	deadline, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("cannot reach the plane at %s: %w", address, err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return fmt.Errorf("the plane at %s ended the connection: %w; check that the certificate in the context file is this plane's and has not expired", address, err)
	}
	return fmt.Errorf("the plane at %s did not answer within %s; it may be overloaded, try --timeout", address, timeout)
}

// plain strips gRPC's words from an error, but keeps its status.
func plain(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	return refusal{st: st}
}

// refusal is the plane's no.
type refusal struct{ st *status.Status }

func (r refusal) Error() string              { return r.st.Message() }
func (r refusal) GRPCStatus() *status.Status { return r.st }

func asRefusal(err error) (*status.Status, bool) {
	var r refusal
	if !errors.As(err, &r) {
		return nil, false
	}
	return r.st, true
}
