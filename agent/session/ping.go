package session

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/agent/identity"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Ping asks the plane for an answer on a connection of its own, and leaves every
// other alone. nil says that the plane, known by its CA, has answered: that one is
// too old to know the call is an answer as well. ctx bounds the wait.
func Ping(ctx context.Context, address string, trust identity.Trust, id *identity.Identity) error {
	conn, err := Dial(address, trust.TLS(id, &identity.Handshake{}), DefaultKeepalive)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = agentv1.NewAgentServiceClient(conn).Ping(ctx, &agentv1.PingRequest{})
	if err == nil || status.Code(err) == codes.Unimplemented {
		return nil
	}
	return fmt.Errorf("no answer from the plane at %s on a new connection: %s", address, status.Convert(err).Message())
}
