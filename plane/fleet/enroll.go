package fleet

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/ca"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Enroll turns a token and a CSR into a host certificate.
func (f *Fleet) Enroll(ctx context.Context, req *agentv1.EnrollRequest) (*agentv1.EnrollResponse, error) {
	id := req.GetHostId()
	resp, err := f.enroll(ctx, req)
	if err != nil {
		f.cfg.Log.Warn("enrolment is refused", zap.String("host_id", id), zap.Error(err))
		return nil, err
	}
	f.cfg.Log.Info("host is enrolled", zap.String("host_id", id))
	return resp, nil
}

func (f *Fleet) enroll(ctx context.Context, req *agentv1.EnrollRequest) (*agentv1.EnrollResponse, error) {
	if err := CheckHostID(req.GetHostId()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	pub, err := ca.ParseCSR(req.GetCsr(), req.GetHostId())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	key, err := ca.KeyHash(pub)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := checkFingerprint(req.GetFingerprint()); err != nil {
		return nil, err
	}
	var revision int64
	for range identityTries {
		revision, err = f.commitEnrolment(ctx, req, key)
		if !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err != nil {
		return nil, asStatus(err)
	}
	f.Seen(ctx, revision)
	return f.certify(pub, req.GetHostId())
}

// commitEnrolment uses the token up by one, and makes the host and its identity,
// all in one commit, whose revision it answers; 0: nothing was to be written.
func (f *Fleet) commitEnrolment(ctx context.Context, req *agentv1.EnrollRequest, key string) (int64, error) {
	token, err := f.readToken(ctx, req.GetToken())
	if err != nil {
		return 0, err
	}
	who, rev, err := f.readIdentity(ctx, req.GetHostId())
	if err != nil {
		return 0, err
	}
	if rev != 0 && !who.sameMachine(req.GetFingerprint()) {
		return 0, status.Errorf(codes.AlreadyExists,
			"host ID %q belongs to another machine (product UUID %s); give this one a host ID of its own (host.name in its configuration), or delete the EdgeHost if that machine is gone",
			req.GetHostId(), orNone(who.ProductUUID))
	}
	// An answer may get lost: the same key with the same token uses nothing up.
	repeated := rev != 0 && who.Token == token.GetMetadata().GetName() && slices.Contains(who.Keys, key)
	if err := f.checkToken(token, repeated); err != nil {
		return 0, err
	}
	if repeated {
		return 0, nil
	}
	who = identity{Keys: []string{key}, Token: token.GetMetadata().GetName(), EnrolledAt: f.cfg.Now().UnixNano()}
	who.learn(req.GetFingerprint())
	guards := []store.Guard{
		{Key: store.KeyOf(token), Revision: token.GetMetadata().GetRevision()},
		{Key: identityPrefix + req.GetHostId(), Revision: rev},
	}
	writes, err := f.enrolmentWrites(token, who, req.GetHostId(), rev == 0)
	if err != nil {
		return 0, err
	}
	return f.cfg.Store.Commit(ctx, guards, writes)
}

func (f *Fleet) enrolmentWrites(token *planev1.Resource, who identity, hostID string, fresh bool) ([]store.Write, error) {
	token.GetEnrollmentTokenStatus().Used++
	tokenWrite, err := f.cfg.Store.EncodeResource(token)
	if err != nil {
		return nil, err
	}
	identityWrite, err := who.write(hostID)
	if err != nil {
		return nil, err
	}
	writes := []store.Write{tokenWrite, identityWrite}
	if !fresh {
		return writes, nil
	}
	hostWrite, err := f.cfg.Store.EncodeResource(&planev1.Resource{
		ApiVersion: kind.APIVersion, Kind: kind.Host,
		Metadata: &planev1.Metadata{Name: hostID, CreatedAt: timestamppb.New(f.cfg.Now())},
		Spec:     &planev1.Resource_EdgeHost{EdgeHost: &planev1.EdgeHostSpec{}},
	})
	if err != nil {
		return nil, err
	}
	return append(writes, hostWrite), nil
}

// readToken finds a token by its text.
func (f *Fleet) readToken(ctx context.Context, text string) (*planev1.Resource, error) {
	unknown := status.Error(codes.Unauthenticated, "the enrolment token is unknown; make a new one with: hybridctl token create")
	if text == "" || len(text) > maxTokenBytes {
		return nil, unknown
	}
	entry, err := f.cfg.Store.Get(ctx, TokenKey(text))
	if errors.Is(err, store.ErrNotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	token, err := f.cfg.Store.GetResource(ctx, kind.Token, string(entry.Value))
	if errors.Is(err, store.ErrNotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	if token.GetEnrollmentTokenStatus() == nil {
		token.Status = &planev1.Resource_EnrollmentTokenStatus{EnrollmentTokenStatus: &planev1.EnrollmentTokenStatus{}}
	}
	return token, nil
}

func (f *Fleet) checkToken(token *planev1.Resource, repeated bool) error {
	name, spec, state := token.GetMetadata().GetName(), token.GetEnrollmentToken(), token.GetEnrollmentTokenStatus()
	const next = "make a new one with: hybridctl token create"
	switch expires := spec.GetExpiresAt().AsTime(); {
	case state.GetRevoked():
		return status.Errorf(codes.PermissionDenied, "enrolment token %s was revoked; %s", name, next)
	case f.cfg.Now().After(expires):
		return status.Errorf(codes.PermissionDenied, "enrolment token %s expired at %s; %s", name, expires.UTC().Format(time.RFC3339), next)
	case !repeated && state.GetUsed() >= spec.GetUses():
		return status.Errorf(codes.PermissionDenied, "enrolment token %s is used up (%d of %d uses); %s", name, state.GetUsed(), spec.GetUses(), next)
	}
	return nil
}

func (f *Fleet) certify(pub crypto.PublicKey, hostID string) (*agentv1.EnrollResponse, error) {
	cert, err := f.cfg.CA.IssueHost(pub, hostID)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &agentv1.EnrollResponse{Certificate: cert, CaCertificates: f.cfg.CA.Certificates()}, nil
}

// asStatus keeps a status and calls anything else the plane's own trouble.
func asStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, store.ErrConflict) {
		return status.Error(codes.Unavailable, "others write at the same time; try again")
	}
	return status.Errorf(codes.Unavailable, "the plane cannot reach its store: %v", err)
}
