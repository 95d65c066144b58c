package plane

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"hybridagent/plane/auth"
	"hybridagent/plane/fleet"
)

const (
	// maxMessageBytes bounds one message, as the protocol says.
	maxMessageBytes = 512 << 10
	// handshakeTimeout ends connections that never become one.
	handshakeTimeout = 20 * time.Second
	// A host pings each 30 s by default; the plane pings only who is silent for
	// longer, and so adds nothing to a healthy link.
	pingAfter   = 45 * time.Second
	pingTimeout = 15 * time.Second
	// Hosts may ask for as little as 10 s; half of it forgives a timer that fires
	// early.
	pingAllowed     = 5 * time.Second
	maxCallsPerConn = 16
	maxHeaderBytes  = 16 << 10
)

// serverOptions keep an idle stream small: no read buffer; write buffers are
// shared by default.
func serverOptions(tlsConfig *tls.Config) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(credentials.NewTLS(tlsConfig)),
		grpc.ReadBufferSize(0),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxConcurrentStreams(maxCallsPerConn),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAllowed, PermitWithoutStream: true}),
		grpc.InTapHandle(fleet.Tap),
		grpc.UnaryInterceptor(auth.Unary),
		grpc.StreamInterceptor(auth.Stream),
	}
}

// serverNames are the hosts of the advertised addresses, and this machine.
func serverNames(advertise []string) ([]string, error) {
	names := []string{"localhost", "127.0.0.1", "::1"}
	for _, a := range advertise {
		host, _, err := net.SplitHostPort(a)
		if err != nil || host == "" {
			return nil, fmt.Errorf("advertised address %q is no host:port", a)
		}
		if !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	return names, nil
}
