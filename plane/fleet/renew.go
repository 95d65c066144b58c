package fleet

import (
	"context"
	"slices"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/auth"
	"hybridagent/plane/ca"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// RenewCertificate exchanges a valid certificate for a new one. The key of the
// former stays good until the host connects with the new one.
func (f *Fleet) RenewCertificate(ctx context.Context, req *agentv1.RenewCertificateRequest) (*agentv1.RenewCertificateResponse, error) {
	id, held, err := auth.Host(ctx)
	if err != nil {
		return nil, err
	}
	pub, err := ca.ParseCSR(req.GetCsr(), id)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	key, err := ca.KeyHash(pub)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	who, rev, err := f.readIdentity(ctx, id)
	if err != nil {
		return nil, asStatus(err)
	}
	if err := who.holds(id, held, rev); err != nil {
		return nil, err
	}
	who.Keys = slices.Compact([]string{key, held})
	write, err := who.write(id)
	if err != nil {
		return nil, asStatus(err)
	}
	if _, err := f.cfg.Store.Commit(ctx, []store.Guard{{Key: identityPrefix + id, Revision: rev}}, []store.Write{write}); err != nil {
		return nil, asStatus(err)
	}
	resp, err := f.certify(pub, id)
	if err != nil {
		return nil, err
	}
	f.cfg.Log.Info("certificate of a host is renewed", zap.String("host_id", id))
	return &agentv1.RenewCertificateResponse{Certificate: resp.GetCertificate(), CaCertificates: resp.GetCaCertificates()}, nil
}
