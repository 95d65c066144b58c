package api

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/auth"
	"hybridagent/plane/fleet"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	defaultTTL  = 24 * time.Hour
	maxTTL      = 30 * 24 * time.Hour
	defaultUses = 1
	maxUses     = 10000
)

// CreateToken makes an enrolment token.
func (s *Server) CreateToken(ctx context.Context, req *planev1.CreateTokenRequest) (*planev1.CreateTokenResponse, error) {
	r, err := s.newToken(req)
	if err != nil {
		return nil, err
	}
	text, err := fleet.NewToken()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	write, err := s.store.EncodeResource(r)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	name := r.GetMetadata().GetName()
	_, err = s.store.Commit(ctx, []store.Guard{{Key: store.KeyOf(r)}},
		[]store.Write{write, {Key: fleet.TokenKey(text), Value: []byte(name)}})
	if errors.Is(err, store.ErrConflict) {
		return nil, status.Errorf(codes.AlreadyExists, "EnrollmentToken %q exists already; choose another name", name)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	operator, _ := auth.Operator(ctx)
	s.log.Info("enrolment token is made", zap.String("operator", operator), zap.String("name", name))
	return &planev1.CreateTokenResponse{Name: name, Token: text, CaPin: s.ca.Pin()}, nil
}

func (s *Server) newToken(req *planev1.CreateTokenRequest) (*planev1.Resource, error) {
	ttl, uses, name := defaultTTL, uint32(defaultUses), req.GetName()
	if req.GetTtl() != nil {
		ttl = req.GetTtl().AsDuration()
	}
	if req.GetUses() != 0 {
		uses = req.GetUses()
	}
	if name == "" {
		name = "token-" + strings.ToLower(rand.Text()[:8])
	}
	v := &violations{subject: kind.Token + " " + name}
	if !s.rules.label.MatchString(name) {
		v.add("name", "%q is no lowercase DNS label of at most 63 characters", name)
	}
	if ttl < time.Second || ttl > maxTTL {
		v.add("ttl", "%s is not from 1s to %s", ttl, maxTTL)
	}
	if uses > maxUses {
		v.add("uses", "%d is not from 1 to %d", uses, maxUses)
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	now := s.now()
	return &planev1.Resource{
		ApiVersion: kind.APIVersion, Kind: kind.Token,
		Metadata: &planev1.Metadata{Name: name, CreatedAt: timestamppb.New(now)},
		Spec: &planev1.Resource_EnrollmentToken{EnrollmentToken: &planev1.EnrollmentTokenSpec{
			ExpiresAt: timestamppb.New(now.Add(ttl)), Uses: uses,
		}},
		Status: &planev1.Resource_EnrollmentTokenStatus{EnrollmentTokenStatus: &planev1.EnrollmentTokenStatus{}},
	}, nil
}

// RevokeToken ends a token.
func (s *Server) RevokeToken(ctx context.Context, req *planev1.RevokeTokenRequest) (*planev1.RevokeTokenResponse, error) {
	for range writeTries {
		err := s.revoke(ctx, req.GetName())
		switch {
		case errors.Is(err, store.ErrConflict):
			continue
		case errors.Is(err, store.ErrNotFound):
			return nil, status.Errorf(codes.NotFound, "EnrollmentToken %q does not exist", req.GetName())
		case err != nil:
			return nil, unavailable(err)
		}
		operator, _ := auth.Operator(ctx)
		s.log.Info("enrolment token is revoked", zap.String("operator", operator), zap.String("name", req.GetName()))
		return &planev1.RevokeTokenResponse{}, nil
	}
	return nil, status.Error(codes.Aborted, "others write at the same time; try again")
}

func (s *Server) revoke(ctx context.Context, name string) error {
	r, err := s.store.GetResource(ctx, kind.Token, name)
	if err != nil {
		return err
	}
	if r.GetEnrollmentTokenStatus().GetRevoked() {
		return nil
	}
	used := r.GetEnrollmentTokenStatus().GetUsed()
	r.Status = &planev1.Resource_EnrollmentTokenStatus{EnrollmentTokenStatus: &planev1.EnrollmentTokenStatus{Used: used, Revoked: true}}
	guard := store.Guard{Key: store.KeyOf(r), Revision: r.GetMetadata().GetRevision()}
	write, err := s.store.EncodeResource(r)
	if err != nil {
		return err
	}
	_, err = s.store.Commit(ctx, []store.Guard{guard}, []store.Write{write})
	return err
}
