package door

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Short names for the reasons.
const (
	malformed   = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED
	busy        = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY
	forbidden   = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FORBIDDEN
	failed      = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FAILED
	unknownKind = agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNKNOWN_KIND
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
	case *agentv1.DoorRequest_NodeKeyCsr:
		csr, err := d.opt.NodeKeyCSR()
		return d.answer(conn, peer, "node_key_csr", err, &agentv1.DoorReply{
			Reply: &agentv1.DoorReply_NodeKeyCsr{NodeKeyCsr: &agentv1.NodeKeyCSRReply{Csr: csr}}})
	case *agentv1.DoorRequest_InstallNodeCertificate:
		err := d.opt.InstallNodeCertificate(request.InstallNodeCertificate.GetCertificate())
		return d.answer(conn, peer, "install_node_certificate", err, &agentv1.DoorReply{
			Reply: &agentv1.DoorReply_InstallNodeCertificate{InstallNodeCertificate: &agentv1.InstallNodeCertificateReply{}}})
	case *agentv1.DoorRequest_EraseToken:
		return d.answer(conn, peer, "erase_token", d.opt.EraseToken(), &agentv1.DoorReply{
			Reply: &agentv1.DoorReply_EraseToken{EraseToken: &agentv1.EraseTokenReply{}}})
	case *agentv1.DoorRequest_ReadNodeState:
		state, err := d.opt.ReadNodeState(ctx)
		if err != nil {
			return err
		}
		return d.send(conn, &agentv1.DoorReply{Reply: &agentv1.DoorReply_NodeState{NodeState: state}})
	default:
		return operation.Refuse(unknownKind, "hybrid-agent-op does not know this kind of request; agent and hybrid-agent-op must be of one version")
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
	request := &agentv1.DoorRequest{}
	if err := proto.Unmarshal(payload, request); err != nil {
		return nil, operation.Refuse(malformed, "the request cannot be parsed: %v", err)
	}
	return request, nil
}

// answer sends a reply, or returns what went wrong.
func (d *Door) answer(conn net.Conn, peer peer, kind string, err error, reply *agentv1.DoorReply) error {
	if err != nil {
		return err
	}
	d.log.Info("request served", zap.String("request", kind), zap.Uint32("uid", peer.uid))
	return d.send(conn, reply)
}

// submit checks a signed operation, has it started, and follows it.
func (d *Door) submit(ctx context.Context, conn net.Conn, env *agentv1.SignedOperation) error {
	op, err := operation.Verify(env, d.opt.Trust, d.opt.Now())
	if err != nil {
		return err
	}
	if err := d.opt.Operations.Submit(op, env.GetOperation()); err != nil {
		return err
	}
	return d.follow(ctx, conn, op.GetId())
}

// follow sends progress until the operation has ended or the peer has gone.
func (d *Door) follow(ctx context.Context, conn net.Conn, id string) error {
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	// The peer has nothing more to say: whatever its end of the connection does
	// means that it has gone.
	watching := make(chan struct{})
	_ = conn.SetReadDeadline(time.Time{})
	go func() {
		defer close(watching)
		defer cancel()
		_, _ = conn.Read(make([]byte, 1))
	}()
	defer func() {
		_ = conn.SetReadDeadline(time.Now())
		<-watching
	}()
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
