package door

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Short names for the reasons.
const (
	malformed = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED
	busy      = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY
	forbidden = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FORBIDDEN
	failed    = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FAILED
)

// serve reads the request and answers it. The error is what the peer is told.
func (d *Door) serve(ctx context.Context, conn net.Conn, peer peer) error {
	request, err := d.read(conn)
	if err != nil || request == nil {
		return err
	}
	switch request := request.GetRequest().(type) {
	case *agentv1.DoorRequest_Submit:
		return d.submit(ctx, conn, request.Submit)
	case *agentv1.DoorRequest_Follow:
		return d.follow(ctx, conn, request.Follow.GetOperationId())
	case *agentv1.DoorRequest_Abort:
		return d.abort(conn, peer, request.Abort.GetOperationId())
	case *agentv1.DoorRequest_SubmitLocal:
		return d.submitLocal(ctx, conn, peer, request.SubmitLocal)
	default:
		reply, err := d.answer(ctx, conn, request)
		if err != nil {
			return err
		}
		return d.send(conn, reply)
	}
}

// read takes one frame; nil without an error when the peer sent nothing at all.
func (d *Door) read(conn net.Conn) (*agentv1.DoorRequest, error) {
	if err := conn.SetReadDeadline(time.Now().Add(d.opt.ReadLimit)); err != nil {
		return nil, err
	}
	payload, err := operation.ReadFrame(conn)
	var refusal *operation.Refusal
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, operation.Refuse(malformed, "the request was not complete within %s", d.opt.ReadLimit)
	case errors.As(err, &refusal):
		return nil, refusal
	case err != nil:
		return nil, operation.Refuse(malformed, "the request was cut short: %v", err)
	}
	d.decoding.Lock()
	defer d.decoding.Unlock()
	return operation.ParseRequest(payload)
}

// submit checks a signed operation, has it started, and follows it.
func (d *Door) submit(ctx context.Context, conn net.Conn, env *agentv1.SignedOperation) error {
	op, err := d.verify(env)
	if err != nil {
		return err
	}
	if err := d.opt.Operations.Submit(op, env.GetOperation()); err != nil {
		return err
	}
	return d.follow(ctx, conn, op.GetId())
}

func (d *Door) verify(env *agentv1.SignedOperation) (*agentv1.Operation, error) {
	d.decoding.Lock()
	defer d.decoding.Unlock()
	return operation.Verify(env, d.opt.Trust, d.opt.Now())
}

// watch returns a context that ends when the peer does anything at all: it has
// nothing more to say, so that means that it has gone. done ends the watching.
func watch(ctx context.Context, conn net.Conn) (watched context.Context, done func()) {
	watched, cancel := context.WithCancel(ctx)
	watching := make(chan struct{})
	_ = conn.SetReadDeadline(time.Time{})
	go func() {
		defer close(watching)
		defer cancel()
		_, _ = conn.Read(make([]byte, 1))
	}()
	return watched, func() {
		_ = conn.SetReadDeadline(time.Now())
		<-watching
		cancel()
	}
}

// follow sends progress until the operation has ended or the peer has gone.
func (d *Door) follow(ctx context.Context, conn net.Conn, id string) error {
	watched, done := watch(ctx, conn)
	defer done()
	err := d.opt.Operations.Follow(watched, id, func(progress *agentv1.OperationProgress) error {
		return d.send(conn, &agentv1.DoorReply{Reply: &agentv1.DoorReply_Progress{Progress: progress}})
	})
	var refusal *operation.Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	if err != nil {
		d.log.Debug("a follower left", zap.Error(err))
	}
	return nil
}
