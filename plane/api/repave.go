package api

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/auth"
	"hybridagent/plane/fleet"
	"hybridagent/plane/kind"
	"hybridagent/plane/rollout"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Repave brings nodes of a pool to what it wants, or answers what that would do.
func (s *Server) Repave(ctx context.Context, req *planev1.RepaveRequest) (*planev1.RepaveResponse, error) {
	name := req.GetPool()
	w, _, err := s.read(ctx, "")
	if err != nil {
		return nil, err
	}
	pool := w.get(kind.Pool, name)
	if pool == nil {
		return nil, status.Errorf(codes.NotFound, "%s %q does not exist", kind.Pool, name)
	}
	if err := checkRepave(pool, req); err != nil {
		return nil, err
	}
	if req.GetDryRun() {
		hosts, err := s.ops.Plan(name, req.GetHostIds(), req.GetForce())
		if err != nil {
			return nil, repaveRefused(name, err)
		}
		return &planev1.RepaveResponse{Hosts: hosts}, nil
	}
	v := &violations{subject: kind.Pool + " " + name}
	s.inSkew(v, w, "version", pool.GetNodePool())
	if len(v.words) > 0 {
		return nil, status.Error(codes.FailedPrecondition, v.words[0])
	}
	hosts, err := s.ops.Repave(ctx, name, req.GetHostIds(), rollout.Manner{Force: req.GetForce(), ReconfigureOnly: req.GetReconfigureOnly()})
	if err != nil {
		return nil, repaveRefused(name, err)
	}
	operator, _ := auth.Operator(ctx)
	s.log.Info("repave is asked for", zap.String("operator", operator), zap.String("pool", name), zap.Strings("hosts", req.GetHostIds()), zap.Bool("force", req.GetForce()))
	return &planev1.RepaveResponse{Hosts: hosts}, nil
}

// checkRepave: every host named is in the pool, once.
func checkRepave(pool *planev1.Resource, req *planev1.RepaveRequest) error {
	v := &violations{subject: kind.Pool + " " + req.GetPool()}
	v.count("hostIds", len(req.GetHostIds()), 0, maxPoolHosts)
	for i, id := range req.GetHostIds() {
		v.check(fmt.Sprintf("hostIds[%d]", i), fleet.CheckHostID(id))
		if slices.Contains(req.GetHostIds()[:i], id) {
			v.add(fmt.Sprintf("hostIds[%d]", i), "%s is named twice", id)
		}
	}
	if err := v.err(); err != nil {
		return err
	}
	for _, id := range req.GetHostIds() {
		if !slices.ContainsFunc(pool.GetNodePool().GetHosts(), func(h *planev1.PoolHost) bool { return h.GetHostId() == id }) {
			return status.Errorf(codes.NotFound, "host %s is not in %s %s; 'hybridctl get pool %s -o yaml' shows its hosts", id, kind.Pool, req.GetPool(), req.GetPool())
		}
	}
	return nil
}

func repaveRefused(pool string, err error) error {
	switch {
	case errors.Is(err, rollout.ErrNoPool):
		return status.Errorf(codes.NotFound, "%s %q does not exist", kind.Pool, pool)
	case errors.Is(err, rollout.ErrNothingToRepave):
		return status.Errorf(codes.FailedPrecondition, "%s %s: nothing is to be done: %v; --dry-run tells host by host why, --force repaves all the same", kind.Pool, pool, err)
	case errors.Is(err, store.ErrConflict):
		return status.Errorf(codes.Aborted, "%s %s: %v; try again", kind.Pool, pool, err)
	default:
		return unavailable(err)
	}
}

// AbortOperation ends an operation of a host.
func (s *Server) AbortOperation(ctx context.Context, req *planev1.AbortOperationRequest) (*planev1.AbortOperationResponse, error) {
	id := req.GetHostId()
	operator, _ := auth.Operator(ctx)
	op, withdrawn, err := s.ops.Abort(ctx, id, req.GetOperationId(), operator)
	var not *rollout.NotAbortableError
	switch {
	case errors.Is(err, rollout.ErrNoOperation) && req.GetOperationId() == "":
		return nil, status.Errorf(codes.NotFound, "host %q has no operation under way", id)
	case errors.Is(err, rollout.ErrNoOperation):
		return nil, status.Errorf(codes.NotFound, "host %q has no operation %q under way", id, req.GetOperationId())
	case errors.As(err, &not):
		return nil, status.Errorf(codes.FailedPrecondition, "host %s: %v", id, err)
	case errors.Is(err, store.ErrConflict):
		return nil, status.Errorf(codes.Aborted, "host %s: %v; try again", id, err)
	case err != nil:
		return nil, unavailable(err)
	}
	s.log.Info("abort is asked for", zap.String("operator", operator), zap.String("host_id", id), zap.String("op_id", op), zap.Bool("withdrawn", withdrawn))
	return &planev1.AbortOperationResponse{OperationId: op, Withdrawn: withdrawn}, nil
}

// RetryNetwork has a host try the network once more that it has rolled back.
func (s *Server) RetryNetwork(ctx context.Context, req *planev1.RetryNetworkRequest) (*planev1.RetryNetworkResponse, error) {
	id := req.GetHostId()
	switch err := s.fleet.RetryNetwork(id); {
	case errors.Is(err, fleet.ErrNotEnrolled):
		return nil, noHost(id)
	case err != nil:
		return nil, status.Errorf(codes.FailedPrecondition, "host %s: %v", id, err)
	}
	operator, _ := auth.Operator(ctx)
	s.log.Info("network is tried again", zap.String("operator", operator), zap.String("host_id", id))
	return &planev1.RetryNetworkResponse{}, nil
}

// maxProblems are those of NodePoolStatus.
const maxProblems = 32

// addRollout completes a pool's status: it repaves while a host's turn is under way,
// and is unhealthy when a host has stopped that.
func addRollout(st *planev1.NodePoolStatus, ro *planev1.RolloutStatus) {
	if ro == nil {
		return
	}
	st.Rollout = ro
	problem := func(text string) {
		if len(st.Problems) >= maxProblems {
			st.Problems = st.Problems[:maxProblems-1]
		}
		st.Problems = append([]string{text}, st.Problems...)
	}
	switch ro.GetState() {
	case planev1.RolloutState_ROLLOUT_STATE_STOPPED:
		st.State = planev1.PoolState_POOL_STATE_UNHEALTHY
		problem("the repave has stopped: " + ro.GetMessage())
	case planev1.RolloutState_ROLLOUT_STATE_RUNNING:
		if ro.GetCurrent() != "" && st.State != planev1.PoolState_POOL_STATE_UNHEALTHY {
			st.State = planev1.PoolState_POOL_STATE_REPAVING
		}
		if ro.GetMessage() != "" {
			problem(fmt.Sprintf("repave, %d of %d done: %s", ro.GetDone(), ro.GetHosts(), ro.GetMessage()))
		}
	}
}
