package api

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/kind"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// validate checks what needs no other resource. The error is for what can never
// be applied.
func (s *Server) validate(v *violations, r *planev1.Resource) error {
	if err := checkKind(r.GetKind()); err != nil {
		return err
	}
	switch r.GetKind() {
	case kind.Host:
		return status.Error(codes.InvalidArgument, "an EdgeHost is made by the host when it enrols; make a token with: hybridctl token create")
	case kind.Token:
		return status.Error(codes.InvalidArgument, "an EnrollmentToken cannot be applied; make one with: hybridctl token create")
	}
	if r.GetApiVersion() != kind.APIVersion {
		v.add("apiVersion", "%q is not %s", r.GetApiVersion(), kind.APIVersion)
	}
	if r.GetStatus() != nil {
		v.add("status", "is the plane's and cannot be applied")
	}
	if name := r.GetMetadata().GetName(); !s.rules.label.MatchString(name) {
		v.add("metadata.name", "%q is no lowercase DNS label of at most 63 characters", name)
	}
	if specKind := s.spec(v, r); specKind != r.GetKind() {
		v.add("spec", "is not that of a %s", r.GetKind())
	}
	return nil
}

// spec checks the spec, and answers the kind that it belongs to.
func (s *Server) spec(v *violations, r *planev1.Resource) string {
	switch spec := r.GetSpec().(type) {
	case *planev1.Resource_HybridCluster:
		s.rules.cluster(v, spec.HybridCluster)
		return kind.Cluster
	case *planev1.Resource_HybridProfile:
		s.rules.profile(v, spec.HybridProfile)
		return kind.Profile
	case *planev1.Resource_NodePool:
		s.rules.pool(v, spec.NodePool)
		return kind.Pool
	default:
		return ""
	}
}

// crossCheck checks a resource against the others.
func (s *Server) crossCheck(v *violations, w world, r *planev1.Resource) {
	switch r.GetKind() {
	case kind.Pool:
		s.crossCheckPool(v, w, r)
	case kind.Cluster:
		s.crossCheckCluster(v, w, r)
	}
}
