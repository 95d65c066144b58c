package floor

import (
	"context"
	"crypto/tls"
	"fmt"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// EncodeRoute is how a pushed route travels to Push: destination and length.
func EncodeRoute(r Route) []byte { return append(r.Dst[:], r.Bits) }

// Push connects to a plane and installs each route that it pushes, in place of the
// one before. It checks nothing. template gives next hop and link; record, if set, is
// called with what was pushed before the kernel is.
func Push(ctx context.Context, address string, config *tls.Config, template Route, record func([]byte) error, ready func()) error {
	writer, err := Open(0)
	if err != nil {
		return err
	}
	defer writer.Close()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stream, err := agentv1.NewAgentServiceClient(conn).Connect(ctx)
	if err != nil {
		return fmt.Errorf("cannot connect: %w", err)
	}
	ready()
	var old Route
	for {
		m, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("cannot receive: %w", err)
		}
		b := m.GetAssignment().GetAssignment()
		if len(b) != 5 {
			continue // the welcome
		}
		if record != nil {
			if err := record(b); err != nil {
				return err
			}
		}
		next := template
		copy(next.Dst[:], b)
		next.Bits = b[4]
		if err := writer.Send(next.Message(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)); err != nil {
			return fmt.Errorf("cannot install route: %w", err)
		}
		if old.Bits != 0 {
			if err := writer.Send(old.Message(unix.RTM_DELROUTE, 0)); err != nil {
				return fmt.Errorf("cannot delete route: %w", err)
			}
		}
		old = next
		result := &agentv1.AssignmentResult{Generation: m.GetAssignment().GetGeneration(), Accepted: true}
		if err := stream.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: result}}); err != nil {
			return fmt.Errorf("cannot answer: %w", err)
		}
	}
}
