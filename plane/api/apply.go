package api

import (
	"context"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/auth"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Apply makes or changes a resource.
func (s *Server) Apply(ctx context.Context, req *planev1.ApplyRequest) (*planev1.ApplyResponse, error) {
	r := proto.CloneOf(req.GetResource())
	if err := s.validate(r); err != nil {
		return nil, err
	}
	var resp *planev1.ApplyResponse
	err := s.change(ctx, func(w world, guard store.Guard) error {
		var err error
		resp, err = s.applyOnce(ctx, w, guard, proto.CloneOf(r))
		return err
	})
	if err != nil {
		return nil, err
	}
	operator, _ := auth.Operator(ctx)
	s.log.Info("resource is applied", zap.String("operator", operator), zap.String("kind", r.GetKind()),
		zap.String("name", r.GetMetadata().GetName()), zap.String("outcome", resp.GetOutcome().String()))
	return resp, nil
}

func (s *Server) applyOnce(ctx context.Context, w world, guard store.Guard, r *planev1.Resource) (*planev1.ApplyResponse, error) {
	key := store.KeyOf(r)
	old := w[key]
	if want := r.GetMetadata().GetRevision(); want != 0 && want != old.GetMetadata().GetRevision() {
		return nil, status.Errorf(codes.Aborted, "%s %q was changed since revision %d (now %d); get it again and apply your change to that",
			r.GetKind(), r.GetMetadata().GetName(), want, old.GetMetadata().GetRevision())
	}
	if old != nil && proto.Equal(specOf(old), specOf(r)) {
		return &planev1.ApplyResponse{Resource: s.present(w, old), Outcome: planev1.ApplyOutcome_APPLY_OUTCOME_UNCHANGED}, nil
	}
	if old != nil && r.GetKind() == store.KindProfile {
		return nil, status.Errorf(codes.FailedPrecondition, "version %s of HybridProfile %q exists, and a version never changes; apply the change as a new version",
			r.GetHybridProfile().GetVersion(), r.GetMetadata().GetName())
	}
	if err := s.crossCheck(w, r); err != nil {
		return nil, err
	}
	outcome := planev1.ApplyOutcome_APPLY_OUTCOME_CREATED
	r.Metadata.CreatedAt = timestamppb.New(s.now())
	if old != nil {
		outcome = planev1.ApplyOutcome_APPLY_OUTCOME_CONFIGURED
		r.Metadata.CreatedAt = old.GetMetadata().GetCreatedAt()
	}
	write, err := s.store.EncodeResource(r)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	rev, err := s.commit(ctx, guard, write)
	if err != nil {
		return nil, err
	}
	r.Metadata.Revision = rev
	w[key] = r
	return &planev1.ApplyResponse{Resource: s.present(w, r), Outcome: outcome}, nil
}

// specOf is a resource reduced to what an operator gives.
func specOf(r *planev1.Resource) *planev1.Resource {
	return &planev1.Resource{Spec: r.GetSpec()}
}

// validate checks what needs no other resource.
func (s *Server) validate(r *planev1.Resource) error {
	v := &violations{}
	if r.GetApiVersion() != store.APIVersion {
		v.add("apiVersion", "%q is not %s", r.GetApiVersion(), store.APIVersion)
	}
	if r.GetStatus() != nil {
		v.add("status", "is the plane's and cannot be applied")
	}
	if name := r.GetMetadata().GetName(); !s.rules.label.MatchString(name) {
		v.add("metadata.name", "%q is no lowercase DNS label of at most 63 characters", name)
	}
	spec := ""
	switch sp := r.GetSpec().(type) {
	case *planev1.Resource_HybridCluster:
		spec = store.KindCluster
		s.rules.cluster(v, sp.HybridCluster)
	case *planev1.Resource_HybridProfile:
		spec = store.KindProfile
		s.rules.profile(v, sp.HybridProfile)
	case *planev1.Resource_NodePool:
		spec = store.KindPool
		s.rules.pool(v, sp.NodePool)
	case *planev1.Resource_EdgeHost:
		return status.Error(codes.InvalidArgument, "an EdgeHost is made by the host when it enrols; make a token with: hybridctl token create")
	case *planev1.Resource_EnrollmentToken:
		return status.Error(codes.InvalidArgument, "an EnrollmentToken cannot be applied; make one with: hybridctl token create")
	}
	if err := checkKind(r.GetKind()); err != nil {
		return err
	}
	if spec != r.GetKind() {
		v.add("spec", "is not that of a %s", r.GetKind())
	}
	return v.err(r.GetKind() + " " + r.GetMetadata().GetName())
}

// crossCheck checks a resource against the others.
func (s *Server) crossCheck(w world, r *planev1.Resource) error {
	v := &violations{}
	switch r.GetKind() {
	case store.KindPool:
		s.crossCheckPool(v, w, r)
	case store.KindCluster:
		s.crossCheckCluster(v, w, r)
	}
	return v.err(r.GetKind() + " " + r.GetMetadata().GetName())
}
