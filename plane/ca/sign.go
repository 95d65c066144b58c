package ca

import (
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// SignOperation wraps an encoded Operation into its envelope.
func (a *Authority) SignOperation(operation []byte) (*agentv1.SignedOperation, error) {
	if len(operation) > agentv1.MaxOperationBytes {
		return nil, fmt.Errorf("cannot sign an operation of %d bytes: at most %d are allowed", len(operation), agentv1.MaxOperationBytes)
	}
	cert, err := a.signing()
	if err != nil {
		return nil, err
	}
	return &agentv1.SignedOperation{
		Operation: operation,
		Signature: ed25519.Sign(a.sign, agentv1.SigningInput(agentv1.OperationContext, operation)),
		Context:   agentv1.OperationContext,
		Chain:     [][]byte{cert.Raw, a.cert.Raw},
	}, nil
}

// signing answers the signing certificate, a new one when a third of its life
// is left.
func (a *Authority) signing() (*x509.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.signingCert != nil && !Due(a.signingCert, a.now()) {
		return a.signingCert, nil
	}
	cert, err := a.issueSigning()
	if err != nil {
		return nil, err
	}
	a.signingCert = cert
	return cert, nil
}

// Due says that a third of a certificate's life or less is left: time for the
// next one.
func Due(cert *x509.Certificate, now time.Time) bool {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return now.After(cert.NotAfter.Add(-life / 3))
}
