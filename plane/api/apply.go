package api

import (
	"context"
	"fmt"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/auth"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// maxBatch resources are applied at once; one commit holds them.
const maxBatch = 100

// Apply makes or changes a resource.
func (s *Server) Apply(ctx context.Context, req *planev1.ApplyRequest) (*planev1.ApplyResponse, error) {
	results, err := s.apply(ctx, []*planev1.Resource{req.GetResource()}, func(int) string { return "" })
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// ApplyBatch makes or changes all of the resources, or none.
func (s *Server) ApplyBatch(ctx context.Context, req *planev1.ApplyBatchRequest) (*planev1.ApplyBatchResponse, error) {
	if n := len(req.GetResources()); n < 1 || n > maxBatch {
		return nil, status.Errorf(codes.InvalidArgument, "%d resources were given; 1 to %d can be applied at once", n, maxBatch)
	}
	results, err := s.apply(ctx, req.GetResources(), func(i int) string { return fmt.Sprintf("resources[%d].", i) })
	if err != nil {
		return nil, err
	}
	return &planev1.ApplyBatchResponse{Results: results}, nil
}

// apply checks and writes resources; prefix is put before the fields of the one
// with that index.
func (s *Server) apply(ctx context.Context, resources []*planev1.Resource, prefix func(int) string) ([]*planev1.ApplyResponse, error) {
	var results []*planev1.ApplyResponse
	err := s.change(ctx, "", func(w world, guard store.Guard) error {
		b := &batch{server: s, world: w}
		v := &violations{}
		for i, r := range resources {
			v.prefix, v.subject = prefix(i), r.GetKind()+" "+r.GetMetadata().GetName()
			if err := b.add(v, proto.CloneOf(r)); err != nil {
				return err
			}
		}
		if err := v.err(); err != nil {
			return err
		}
		if len(b.writes) > 0 {
			rev, err := s.commit(ctx, guard, b.writes...)
			if err != nil {
				return err
			}
			b.number(rev)
		}
		results = b.results()
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.logApplied(ctx, results)
	return results, nil
}

func (s *Server) logApplied(ctx context.Context, results []*planev1.ApplyResponse) {
	operator, _ := auth.Operator(ctx)
	for _, a := range results {
		s.log.Info("resource is applied", zap.String("operator", operator), zap.String("kind", a.GetResource().GetKind()),
			zap.String("name", a.GetResource().GetMetadata().GetName()), zap.String("outcome", a.GetOutcome().String()))
	}
}

// batch is a set of changes on top of a world; the world is changed with it, so
// that a later resource is checked against an earlier one.
type batch struct {
	server   *Server
	world    world
	writes   []store.Write
	applied  []*planev1.Resource
	outcomes []planev1.ApplyOutcome
}

// add checks one resource and takes it in. What is wrong with the resource goes
// to v; an error is what stands against any change of it.
func (b *batch) add(v *violations, r *planev1.Resource) error {
	found := len(v.list)
	old := b.world[keyOf(r)]
	keepSecrets(old, r)
	if err := b.server.validate(v, r); err != nil {
		return err
	}
	if len(v.list) > found {
		return nil
	}
	if want := r.GetMetadata().GetRevision(); want != 0 && want != old.GetMetadata().GetRevision() {
		return status.Errorf(codes.Aborted, "%s was changed since revision %d (now %d); get it again and apply your change to that",
			v.subject, want, old.GetMetadata().GetRevision())
	}
	if old != nil && proto.Equal(specOf(old), specOf(r)) {
		b.keep(old, planev1.ApplyOutcome_APPLY_OUTCOME_UNCHANGED)
		return nil
	}
	if old != nil && r.GetKind() == kind.Profile {
		return status.Errorf(codes.FailedPrecondition, "%s: version %s exists, and a version never changes; apply the change as a new version",
			v.subject, r.GetHybridProfile().GetVersion())
	}
	b.server.crossCheck(v, b.world, r)
	if len(v.list) > found {
		return nil
	}
	return b.put(old, r)
}

func (b *batch) put(old, r *planev1.Resource) error {
	outcome := planev1.ApplyOutcome_APPLY_OUTCOME_CREATED
	r.Metadata.CreatedAt = timestamppb.New(b.server.now())
	if old != nil {
		outcome = planev1.ApplyOutcome_APPLY_OUTCOME_CONFIGURED
		r.Metadata.CreatedAt = old.GetMetadata().GetCreatedAt()
	}
	write, err := b.server.store.EncodeResource(r)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	b.writes = append(b.writes, write)
	b.world[write.Key] = r
	b.keep(r, outcome)
	return nil
}

func (b *batch) keep(r *planev1.Resource, outcome planev1.ApplyOutcome) {
	b.applied, b.outcomes = append(b.applied, r), append(b.outcomes, outcome)
}

// number gives what was written its revision.
func (b *batch) number(rev int64) {
	for i, r := range b.applied {
		if b.outcomes[i] != planev1.ApplyOutcome_APPLY_OUTCOME_UNCHANGED {
			r.Metadata.Revision = rev
		}
	}
}

func (b *batch) results() []*planev1.ApplyResponse {
	out := make([]*planev1.ApplyResponse, 0, len(b.applied))
	for i, r := range b.applied {
		out = append(out, &planev1.ApplyResponse{Resource: b.server.present(b.world, r), Outcome: b.outcomes[i]})
	}
	return out
}

// keyOf is the key of a resource that may be anything yet.
func keyOf(r *planev1.Resource) string {
	if r == nil {
		return ""
	}
	return store.KeyOf(r)
}

// keepSecrets lets a resource that was answered without its secrets be applied
// again: an empty secret beside an unchanged certificate or activation is the
// stored one.
func keepSecrets(old, r *planev1.Resource) {
	was, now := old.GetHybridCluster().GetAccessManagement(), r.GetHybridCluster().GetAccessManagement()
	if a, b := was.GetIamRolesAnywhere(), now.GetIamRolesAnywhere(); a != nil && b != nil && b.GetCaPrivateKey() == "" && a.GetCaCertificate() == b.GetCaCertificate() {
		b.CaPrivateKey = a.GetCaPrivateKey()
	}
	if a, b := was.GetSystemsManager(), now.GetSystemsManager(); a != nil && b != nil && b.GetActivationCode() == "" && a.GetActivationId() == b.GetActivationId() {
		b.ActivationCode = a.GetActivationCode()
	}
}

// specOf is a resource reduced to what an operator gives.
func specOf(r *planev1.Resource) *planev1.Resource {
	return &planev1.Resource{Spec: r.GetSpec()}
}
