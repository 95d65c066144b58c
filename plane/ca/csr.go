package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
)

// MaxCSRBytes bounds a certificate signing request.
const MaxCSRBytes = 8 << 10

// ParseCSR checks a request: its size, its own signature, that its CN is the
// name wanted, and that its key is one of today. Nothing else of it is used.
func ParseCSR(der []byte, name string) (crypto.PublicKey, error) {
	if len(der) > MaxCSRBytes {
		return nil, fmt.Errorf("certificate request has %d bytes, at most %d are allowed", len(der), MaxCSRBytes)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request is not signed by its own key: %w", err)
	}
	if csr.Subject.CommonName != name {
		return nil, fmt.Errorf("certificate request is for %q, want %q", csr.Subject.CommonName, name)
	}
	switch key := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if bits := key.Curve.Params().BitSize; bits < 256 {
			return nil, fmt.Errorf("certificate request has an ECDSA key of %d bits, want 256 or more", bits)
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 {
			return nil, fmt.Errorf("certificate request has an RSA key of %d bits, want 2048 or more", bits)
		}
	case ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("certificate request has a key of type %T, want ECDSA, RSA or Ed25519", key)
	}
	return csr.PublicKey, nil
}

// KeyHash names a public key: hexadecimal SHA-256 of its SubjectPublicKeyInfo.
func KeyHash(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("cannot encode a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
