package api

import (
	"context"
	"strings"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/auth"
	"hybridagent/plane/fleet"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
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
