package auth

import (
	"context"
	"crypto/x509"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"hybridagent/plane/ca"
)

const (
	uriScheme    = "hybrid"
	hostAuth     = "host"
	operatorAuth = "operator"
)

// Host answers the ID of the calling host, and the hash of the key that it
// proved to hold.
func Host(ctx context.Context) (id, keyHash string, err error) {
	cert := verified(ctx)
	id = named(cert, hostAuth)
	if id == "" {
		return "", "", status.Error(codes.Unauthenticated, "a host's certificate is needed for this call; enrol first")
	}
	keyHash, err = ca.KeyHash(cert.PublicKey)
	if err != nil {
		return "", "", status.Error(codes.Unauthenticated, err.Error())
	}
	return id, keyHash, nil
}

// Operator answers the name of the calling operator.
func Operator(ctx context.Context) (string, error) {
	if name := named(verified(ctx), operatorAuth); name != "" {
		return name, nil
	}
	return "", status.Error(codes.Unauthenticated, "an operator's certificate is needed for this call; use the context file that this plane wrote on its first start")
}

// verified answers the caller's certificate when TLS has verified it.
func verified(ctx context.Context) *x509.Certificate {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.VerifiedChains[0]) == 0 {
		return nil
	}
	return info.State.VerifiedChains[0][0]
}

// named answers the name in the one URI SAN of the kind wanted.
func named(cert *x509.Certificate, kind string) string {
	if cert == nil || len(cert.URIs) != 1 {
		return ""
	}
	uri := cert.URIs[0]
	if uri.Scheme != uriScheme || uri.Host != kind {
		return ""
	}
	return strings.TrimPrefix(uri.Path, "/")
}
