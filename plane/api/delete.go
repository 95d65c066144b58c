package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/auth"
	"hybridagent/plane/fleet"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Delete removes a resource that nothing uses.
func (s *Server) Delete(ctx context.Context, req *planev1.DeleteRequest) (*planev1.DeleteResponse, error) {
	if err := checkKind(req.GetKind()); err != nil {
		return nil, err
	}
	err := s.change(ctx, req.GetKind(), func(w world, guard store.Guard) error {
		found := find(w, req.GetKind(), req.GetName())
		if len(found) == 0 {
			return status.Errorf(codes.NotFound, "%s %q does not exist", req.GetKind(), req.GetName())
		}
		var writes []store.Write
		for _, r := range found {
			if by := users(w, r); len(by) > 0 {
				return status.Errorf(codes.FailedPrecondition, "%s %s is in use by %s; change or delete that first", r.GetKind(), req.GetName(), strings.Join(by, ", "))
			}
			if err := s.keptAsNode(r); err != nil {
				return err
			}
			writes = append(writes, deletions(r)...)
		}
		_, err := s.commit(ctx, guard, writes...)
		return err
	})
	if err != nil {
		return nil, err
	}
	operator, _ := auth.Operator(ctx)
	s.log.Info("resource is deleted", zap.String("operator", operator), zap.String("kind", req.GetKind()), zap.String("name", req.GetName()))
	return &planev1.DeleteResponse{}, nil
}

// lostAfter is how long a host that is a node has to be silent before it may be
// deleted: it is taken for lost then.
const lostAfter = 2 * time.Minute

// keptAsNode: a host is not deleted from under its node, which would stay in the
// cluster with nobody to look after it. One that is lost cannot leave any more.
func (s *Server) keptAsNode(r *planev1.Resource) error {
	if r.GetKind() != kind.Host {
		return nil
	}
	id := r.GetMetadata().GetName()
	st := s.fleet.HostStatus(id)
	silent := s.now().Sub(st.GetSince().AsTime())
	if st.GetHost().GetAppliedNodeDigest() == "" || !st.GetConnected() && silent > lostAfter {
		return nil
	}
	doing := "add it to a NodePool of its cluster and take it out again, and it leaves"
	if op := s.ops.Operation(id, ""); op.GetProgress().GetKind() == agentv1.OperationKind_OPERATION_KIND_LEAVE {
		doing = fmt.Sprintf("it is leaving its cluster: 'hybridctl operation watch %s' shows it", id)
	}
	return status.Errorf(codes.FailedPrecondition, "%s %s is a node still; %s; one that is lost can be deleted once it was not connected for %s", kind.Host, id, doing, lostAfter)
}

// deletions are the writes that remove a resource and what belongs to it. The
// hash of a token may stay: it leads to a name that is gone.
func deletions(r *planev1.Resource) []store.Write {
	writes := []store.Write{{Key: store.KeyOf(r), Delete: true}}
	if r.GetKind() == kind.Host {
		for _, key := range fleet.RecordKeys(r.GetMetadata().GetName()) {
			writes = append(writes, store.Write{Key: key, Delete: true})
		}
	}
	return writes
}
