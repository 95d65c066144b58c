package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"
)

// Trust is how the host knows the plane.
type Trust struct {
	// Pin is the SHA-256 of the SubjectPublicKeyInfo of the plane's CA.
	Pin [sha256.Size]byte
	// CAs are CA certificates trusted before; may be empty.
	CAs []*x509.Certificate
	// ServerName is the DNS name or IP address that the plane's certificate must
	// carry: the host part of plane.address.
	ServerName string
	// Now is the host's clock; nil: time.Now.
	Now func() time.Time
}

func pinOf(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

func formatPin(pin [sha256.Size]byte) string { return "sha256:" + hex.EncodeToString(pin[:]) }

// keep returns the certificates that match the pin, and those that a kept one
// signed: a successor CA comes cross-signed by the one before it.
func (t Trust) keep(certs []*x509.Certificate) []*x509.Certificate {
	var kept []*x509.Certificate
	for _, c := range certs {
		if c.IsCA && pinOf(c) == t.Pin {
			kept = append(kept, c)
		}
	}
	for _, c := range certs {
		if !c.IsCA || pinOf(c) == t.Pin {
			continue
		}
		for _, signer := range kept {
			if c.CheckSignatureFrom(signer) == nil {
				kept = append(kept, c)
				break
			}
		}
	}
	return kept
}

func (t Trust) pinError(seen []*x509.Certificate) *Error {
	pins := make([]string, 0, len(seen))
	for _, c := range seen {
		if c.IsCA {
			pins = append(pins, formatPin(pinOf(c)))
		}
	}
	found := "no CA certificate at all"
	if len(pins) > 0 {
		found = strings.Join(pins, " and ")
	}
	return failure(ReasonWrongCAPin, "cannot trust the plane at %s: its CA has the pin %s, plane.caPin expects %s; "+
		"correct plane.caPin in config.yaml, or find out who answers at that address", t.ServerName, found, formatPin(t.Pin))
}

// verify judges the chain that the plane presented.
func (t Trust) verify(presented []*x509.Certificate) error {
	if len(presented) == 0 {
		return failure(ReasonWrongServer, "cannot trust the plane at %s: it presented no certificate", t.ServerName)
	}
	leaf, rest := presented[0], presented[1:]
	anchors := append(t.keep(rest), t.keep(t.CAs)...)
	if len(anchors) == 0 {
		return t.pinError(rest)
	}
	roots := x509.NewCertPool()
	for _, ca := range anchors {
		roots.AddCert(ca)
	}
	now := time.Now
	if t.Now != nil {
		now = t.Now
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: t.ServerName, CurrentTime: now()})
	return t.explain(leaf, now(), err)
}

// explain turns the errors of x509 into what an operator can act on.
func (t Trust) explain(leaf *x509.Certificate, now time.Time, err error) error {
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(leaf.NotBefore):
		return failure(ReasonClockWrong, "cannot trust the plane at %s yet: this host's clock says %s, at least %s behind; set the clock",
			t.ServerName, now.UTC().Format(time.RFC3339), leaf.NotBefore.Sub(now).Round(time.Second))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return failure(ReasonClockWrong, "cannot trust the plane at %s: its certificate ended %s and this host's clock says %s; "+
			"set the clock if it is ahead, else renew the plane's certificate",
			t.ServerName, leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return failure(ReasonWrongServer, "cannot trust the plane at %s: %w; correct plane.address, or the names in the plane's certificate", t.ServerName, err)
}

// Handshake remembers why the last TLS handshake failed: gRPC passes on only its
// text.
type Handshake struct {
	mu  sync.Mutex
	err error
}

// Err returns what the plane's certificate was refused for, nil if it was not.
func (h *Handshake) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *Handshake) set(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	return err
}

// TLS returns the client's side of TLS 1.3: the plane is judged by Trust alone,
// never by the system's CAs; id may be nil or without a certificate.
func (t Trust) TLS(id *Identity, h *Handshake) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: t.ServerName,
		// The usual verification would need the CA beforehand; VerifyConnection
		// does all of it against the pin.
		InsecureSkipVerify: true, //nolint:gosec // verified below
		VerifyConnection: func(state tls.ConnectionState) error {
			return h.set(t.verify(state.PeerCertificates))
		},
	}
	if id.Enrolled() {
		config.Certificates = []tls.Certificate{{
			Certificate: [][]byte{id.Certificate.Raw}, PrivateKey: id.Key, Leaf: id.Certificate,
		}}
	}
	return config
}
