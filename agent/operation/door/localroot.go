package door

import (
	"context"
	"fmt"
	"net"

	"go.uber.org/zap"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// localRoot refuses whoever is not root at this host. Whoever may become root there
// needs no signature: root can do all of it without this program.
// way is how the plane has it done.
func (d *Door) localRoot(peer peer, what, way string) error {
	switch {
	case peer.uid != 0:
		return operation.Refuse(forbidden,
			"user %d may not %s: without the plane's signature only root on this host may; run it with sudo, or have the plane sign it (%s)", peer.uid, what, way)
	case !d.opt.LocalRoot:
		return operation.Refuse(forbidden,
			"nobody may %s without the plane's signature where operations run without systemd: root at this host cannot be told from the daemon there; have the plane sign it (%s)", what, way)
	default:
		return nil
	}
}

// abort ends an operation on behalf of root at this host.
func (d *Door) abort(conn net.Conn, peer peer, id string) error {
	if err := d.localRoot(peer, "end an operation", "hybridctl operation abort HOST"); err != nil {
		return err
	}
	if d.opt.Abort == nil {
		return operation.UnknownRequest()
	}
	if id != "" && !operation.ValidID(id) {
		return operation.Refuse(malformed, "an operation's ID has 26 lowercase letters and digits")
	}
	ended, err := d.opt.Abort(id, "local root")
	if err != nil {
		return err
	}
	d.log.Info("local root ends an operation", zap.String("op_id", ended), zap.Int32("pid", peer.pid))
	return d.send(conn, &agentv1.DoorReply{Reply: &agentv1.DoorReply_Abort{Abort: &agentv1.AbortReply{OperationId: ended}}})
}

// submitLocal starts an operation on behalf of root at this host, and follows it.
func (d *Door) submitLocal(ctx context.Context, conn net.Conn, peer peer, request *agentv1.SubmitLocalRequest) error {
	if err := d.localRoot(peer, fmt.Sprintf("have a %s run", operation.KindName(request.GetKind())), wayOf(request.GetKind())); err != nil {
		return err
	}
	if d.opt.SubmitLocal == nil {
		return operation.UnknownRequest()
	}
	if err := operation.CheckLocal(request); err != nil {
		return err
	}
	id, err := d.opt.SubmitLocal(request.GetKind(), request.GetForce())
	if err != nil {
		return err
	}
	d.log.Info("local root has an operation run", zap.String("op_id", id), zap.Stringer("kind", request.GetKind()), zap.Int32("pid", peer.pid))
	return d.follow(ctx, conn, id)
}

// wayOf is how an operator has the plane sign an operation of a kind.
func wayOf(kind agentv1.OperationKind) string {
	if kind == agentv1.OperationKind_OPERATION_KIND_LEAVE {
		return "take the host out of its pool with hybridctl apply"
	}
	return "hybridctl repave POOL"
}
