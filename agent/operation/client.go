package operation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/protobuf/proto"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// ErrInterrupted says that the door closed the connection before the operation
// had ended, for example because hybrid-agent-op was restarted. The operation
// goes on: follow it again.
var ErrInterrupted = errors.New("the connection to hybrid-agent-op ended before the operation did; follow it again")

// answerTimeout bounds a request that is answered at once. Reading the node's
// state asks the Kubernetes API, which may take its time.
const answerTimeout = 30 * time.Second

// Client asks hybrid-agent-op. Each call uses a connection of its own, so a
// Client may be used by several goroutines. A refusal is returned as *Refusal.
type Client struct {
	socket string
}

// NewClient returns a client of the door at this socket path, for example
// /run/hybrid-agent-op/op.sock.
func NewClient(socket string) *Client { return &Client{socket: socket} }

// Submit hands over a signed operation and follows it to its end: onProgress
// (may be nil) is called with each snapshot, the last one is returned. An
// operation that failed is no error here; its state says so. An operation ID
// that was submitted before is not run again: its progress or its result comes
// back. Errors: *Refusal, ErrInterrupted, the context's.
func (c *Client) Submit(ctx context.Context, env *agentv1.SignedOperation, onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	return c.follow(ctx, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_Submit{Submit: env}}, onProgress)
}

// Follow attaches to an operation, or with an empty ID to the one that runs or
// ran last, and behaves like Submit from there. When there is no such
// operation, the error is a *Refusal with the reason PRECONDITION.
func (c *Client) Follow(ctx context.Context, id string, onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	request := &agentv1.FollowRequest{OperationId: id}
	return c.follow(ctx, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_Follow{Follow: request}}, onProgress)
}

// NodeKeyCSR has the node's key made where there is none, and returns a DER
// certificate signing request for it.
func (c *Client) NodeKeyCSR(ctx context.Context) ([]byte, error) {
	reply, err := c.ask(ctx, answerTimeout, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_NodeKeyCsr{NodeKeyCsr: &agentv1.NodeKeyCSRRequest{}}})
	if err != nil {
		return nil, err
	}
	if reply.GetNodeKeyCsr() == nil {
		return nil, unexpected(reply)
	}
	return reply.GetNodeKeyCsr().GetCsr(), nil
}

// InstallNodeCertificate hands over the node's DER certificate.
func (c *Client) InstallNodeCertificate(ctx context.Context, der []byte) error {
	request := &agentv1.InstallNodeCertificateRequest{Certificate: der}
	reply, err := c.ask(ctx, answerTimeout, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_InstallNodeCertificate{InstallNodeCertificate: request}})
	if err != nil {
		return err
	}
	if reply.GetInstallNodeCertificate() == nil {
		return unexpected(reply)
	}
	return nil
}

// EraseToken has the enrolment token overwritten and removed.
func (c *Client) EraseToken(ctx context.Context) error {
	reply, err := c.ask(ctx, answerTimeout, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_EraseToken{EraseToken: &agentv1.EraseTokenRequest{}}})
	if err != nil {
		return err
	}
	if reply.GetEraseToken() == nil {
		return unexpected(reply)
	}
	return nil
}

// ReadNodeState returns what root can see of the node. It may be asked as
// often as one likes: the door answers from memory between its own readings.
func (c *Client) ReadNodeState(ctx context.Context) (*agentv1.NodeState, error) {
	reply, err := c.ask(ctx, answerTimeout, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_ReadNodeState{ReadNodeState: &agentv1.ReadNodeStateRequest{}}})
	if err != nil {
		return nil, err
	}
	if reply.GetNodeState() == nil {
		return nil, unexpected(reply)
	}
	return reply.GetNodeState(), nil
}

// retryPause is how long a request that was dropped waits for the next process.
const retryPause = 100 * time.Millisecond

// ask sends a request and returns its one reply. A connection that ends without
// one was dropped by a process that was about to end when idle; systemd starts
// the next one, so the request is made once more.
func (c *Client) ask(ctx context.Context, limit time.Duration, request *agentv1.DoorRequest) (*agentv1.DoorReply, error) {
	reply, err := c.askOnce(ctx, limit, request)
	if !errors.Is(err, ErrInterrupted) {
		return reply, err
	}
	select {
	case <-ctx.Done():
		return nil, err
	case <-time.After(retryPause):
		return c.askOnce(ctx, limit, request)
	}
}

func (c *Client) askOnce(ctx context.Context, limit time.Duration, request *agentv1.DoorRequest) (*agentv1.DoorReply, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, done, err := c.send(ctx, request)
	if err != nil {
		return nil, err
	}
	defer done()
	return receive(ctx, conn)
}

// follow sends a request and reads progress until the operation has ended.
func (c *Client) follow(ctx context.Context, request *agentv1.DoorRequest, onProgress func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	conn, done, err := c.send(ctx, request)
	if err != nil {
		return nil, err
	}
	defer done()
	for {
		reply, err := receive(ctx, conn)
		if err != nil {
			return nil, err
		}
		progress := reply.GetProgress()
		if progress == nil {
			return nil, unexpected(reply)
		}
		if onProgress != nil {
			onProgress(progress)
		}
		if Ended(progress.GetState()) {
			return progress, nil
		}
	}
}

// send opens a connection that ends with the context, and writes the request.
func (c *Client) send(ctx context.Context, request *agentv1.DoorRequest) (net.Conn, func(), error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot reach hybrid-agent-op at %s: %w; is hybrid-agent-op.socket started?", c.socket, err)
	}
	// Closing is what ends a blocked read on cancellation.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	done := func() {
		stop()
		_ = conn.Close()
	}
	if err := WriteFrame(conn, request); err != nil {
		// The door may have answered with a refusal and closed before it read
		// the whole request; that answer says more than the failed write.
		if _, refused := receive(ctx, conn); isRefusal(refused) {
			err = refused
		}
		done()
		return nil, nil, err
	}
	return conn, done, nil
}

// receive reads one reply; a refusal becomes the error.
func receive(ctx context.Context, conn net.Conn) (*agentv1.DoorReply, error) {
	payload, err := ReadFrame(conn)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cannot wait for hybrid-agent-op any longer: %w", context.Cause(ctx))
		}
		if errors.Is(err, io.EOF) {
			return nil, ErrInterrupted
		}
		return nil, fmt.Errorf("%w (%w)", ErrInterrupted, err)
	}
	reply := &agentv1.DoorReply{}
	if err := proto.Unmarshal(payload, reply); err != nil {
		return nil, fmt.Errorf("cannot parse the answer of hybrid-agent-op: %w", err)
	}
	if reply.GetRefusal() != nil {
		return nil, refusalOf(reply.GetRefusal())
	}
	return reply, nil
}

func isRefusal(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal)
}

func unexpected(reply *agentv1.DoorReply) error {
	return fmt.Errorf("cannot use the answer of hybrid-agent-op: unexpected kind %T", reply.GetReply())
}
