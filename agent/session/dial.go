package session

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// Bounds and defaults of a connection.
const (
	// DefaultKeepalive is the HTTP/2 ping interval until the plane says another.
	DefaultKeepalive = 30 * time.Second
	// keepaliveTimeout is how long a ping may stay unanswered: with the interval
	// it bounds how long a stream can be dead unnoticed.
	keepaliveTimeout = 10 * time.Second
	connectTimeout   = 10 * time.Second
	// maxMessage is above the 512 KiB that agent.proto allows, by the message's
	// own framing.
	maxMessage = 513 << 10
	bufferSize = 4 << 10
)

// Dial prepares a connection to the plane; it connects with the first call. Each
// attempt gets a connection of its own, so that the backoff is ours alone.
func Dial(address string, config *tls.Config, ping time.Duration) (*grpc.ClientConn, error) {
	// The HTTP/2 ping makes TCP keepalive probes redundant.
	dialer := &net.Dialer{KeepAlive: -1}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: ping, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithReadBufferSize(bufferSize), grpc.WithWriteBufferSize(bufferSize),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithNoProxy(),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare a connection to %s: %w", address, err)
	}
	return conn, nil
}
