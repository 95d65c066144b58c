package api

import (
	"context"
	"errors"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/auth"
	"hybridagent/plane/kind"
	"hybridagent/plane/rollout"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// SwitchNetwork has a host try other VPN servers at once.
func (s *Server) SwitchNetwork(ctx context.Context, req *planev1.SwitchNetworkRequest) (*planev1.SwitchNetworkResponse, error) {
	id := req.GetHostId()
	if s.fleet.HostStatus(id) == nil {
		return nil, noHost(id)
	}
	w, _, err := s.read(ctx, "")
	if err != nil {
		return nil, err
	}
	pool, member := poolOf(w, id)
	v := &violations{subject: kind.Host + " " + id}
	v.count("vpnServers", len(req.GetVpnServers()), 1, maxVPNServers)
	if len(req.GetVpnServers()) <= maxVPNServers {
		vpnServers(v, "vpnServers", req.GetVpnServers())
		if cluster := w.get(kind.Cluster, pool.GetNodePool().GetCluster()); cluster != nil {
			serversOutsideVPC(v, "vpnServers", cluster.GetHybridCluster(), req.GetVpnServers())
		}
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "host %s is in no NodePool and has no network to switch; add it to one", id)
	}
	op, err := s.ops.Switch(ctx, id, req.GetVpnServers(), member.GetVpnServers())
	if err != nil {
		return nil, switchRefused(id, err)
	}
	operator, _ := auth.Operator(ctx)
	s.log.Info("live network switch is asked for", zap.String("operator", operator), zap.String("host_id", id), zap.String("op_id", op), zap.Strings("vpn_servers", req.GetVpnServers()))
	return &planev1.SwitchNetworkResponse{OperationId: op}, nil
}

// switchRefused puts into words why no switch was signed, and what to do.
func switchRefused(id string, err error) error {
	var busy *rollout.BusyError
	var offline *rollout.OfflineError
	switch {
	case errors.Is(err, rollout.ErrGone):
		return noHost(id)
	case errors.As(err, &busy):
		return status.Errorf(codes.FailedPrecondition, "host %s: %v; wait for its end, 'hybridctl describe host %s' shows it", id, err, id)
	case errors.As(err, &offline):
		return status.Errorf(codes.FailedPrecondition, "host %s: %v; a live network switch needs it connected; without --live the pool is changed for its next repave", id, err)
	case errors.Is(err, store.ErrConflict):
		return status.Errorf(codes.Aborted, "host %s: %v; try again", id, err)
	default:
		return unavailable(err)
	}
}

// GetOperation answers where an operation stands; without an ID the one under way,
// else the last one.
func (s *Server) GetOperation(_ context.Context, req *planev1.GetOperationRequest) (*planev1.GetOperationResponse, error) {
	st := s.ops.Operation(req.GetHostId(), req.GetOperationId())
	if st == nil && req.GetOperationId() == "" {
		return nil, status.Errorf(codes.NotFound, "host %q has no operation under way, and had none", req.GetHostId())
	}
	if st == nil {
		return nil, status.Errorf(codes.NotFound, "host %q has no operation %q, neither pending nor as its last one", req.GetHostId(), req.GetOperationId())
	}
	return &planev1.GetOperationResponse{Operation: st}, nil
}

func noHost(id string) error {
	return status.Errorf(codes.NotFound, "%s %q does not exist", kind.Host, id)
}

// poolOf answers the pool that a host is in, and its entry; nil: none.
func poolOf(w world, id string) (*planev1.Resource, *planev1.PoolHost) {
	for _, pool := range w.kind(kind.Pool) {
		for _, h := range pool.GetNodePool().GetHosts() {
			if h.GetHostId() == id {
				return pool, h
			}
		}
	}
	return nil, nil
}
