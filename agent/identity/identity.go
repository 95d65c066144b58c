package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"hybridagent/agent/store"
)

// FileName is the file in the daemon's state directory; it holds the key and is
// readable by the daemon only.
const FileName = "identity"

const schemaVersion = 1

// Identity is the host's key and, once enrolled, its certificate.
type Identity struct {
	// Key never leaves the host.
	Key *ecdsa.PrivateKey
	// Certificate is the host's; nil before enrolment.
	Certificate *x509.Certificate
	// CAs are the plane's CA certificates that matched the pin when they came.
	CAs []*x509.Certificate
	// Next is the key of an enrolment that is to replace this one; nil outside of
	// that. Key and Certificate stay in use until the plane has certified it.
	Next *ecdsa.PrivateKey
}

// onDisk is the payload of the file: key, certificate and CAs in one, so that no
// crash can leave a certificate beside another key.
type onDisk struct {
	Key         []byte   `json:"key"`
	Certificate []byte   `json:"certificate,omitempty"`
	CAs         [][]byte `json:"cas,omitempty"`
	Next        []byte   `json:"next,omitempty"`
}

// New makes an identity with a fresh P-256 key and no certificate.
func New() (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make the host's key: %w", err)
	}
	return &Identity{Key: key}, nil
}

// Load reads the identity from a state directory; nil without an error where
// there is none. A damaged file is set aside: the host then enrols again.
func Load(dir string) (*Identity, error) {
	payload, err := store.ReadOrSetAside(filepath.Join(dir, FileName), schemaVersion)
	var corrupt *store.CorruptError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.As(err, &corrupt):
		return nil, fmt.Errorf("%w; the host enrols again: give it a fresh enrolment token", err)
	case err != nil:
		return nil, err
	}
	return decode(payload)
}

func decode(payload []byte) (*Identity, error) {
	var disk onDisk
	if err := json.Unmarshal(payload, &disk); err != nil {
		return nil, fmt.Errorf("cannot read the host's identity: %w", err)
	}
	key, err := x509.ParseECPrivateKey(disk.Key)
	if err != nil {
		return nil, fmt.Errorf("cannot read the host's key: %w", err)
	}
	id := &Identity{Key: key}
	if len(disk.Next) > 0 {
		if id.Next, err = x509.ParseECPrivateKey(disk.Next); err != nil {
			return nil, fmt.Errorf("cannot read the host's next key: %w", err)
		}
	}
	if len(disk.Certificate) == 0 {
		return id, nil
	}
	if id.Certificate, err = x509.ParseCertificate(disk.Certificate); err != nil {
		return nil, fmt.Errorf("cannot read the host's certificate: %w", err)
	}
	id.CAs, err = parseAll(disk.CAs)
	return id, err
}

// Save writes the identity durably, with mode 0600.
func (id *Identity) Save(dir string) error {
	key, err := x509.MarshalECPrivateKey(id.Key)
	if err != nil {
		return fmt.Errorf("cannot encode the host's key: %w", err)
	}
	disk := onDisk{Key: key}
	if id.Certificate != nil {
		disk.Certificate = id.Certificate.Raw
	}
	for _, ca := range id.CAs {
		disk.CAs = append(disk.CAs, ca.Raw)
	}
	if id.Next != nil {
		if disk.Next, err = x509.MarshalECPrivateKey(id.Next); err != nil {
			return fmt.Errorf("cannot encode the host's next key: %w", err)
		}
	}
	payload, err := json.Marshal(disk)
	if err != nil {
		return fmt.Errorf("cannot encode the host's identity: %w", err)
	}
	return store.Write(filepath.Join(dir, FileName), schemaVersion, payload)
}

// CSR returns a DER request for the host's key with the host ID as its CN.
func (id *Identity) CSR(hostID string) ([]byte, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: hostID}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, id.Key)
	if err != nil {
		return nil, fmt.Errorf("cannot make a certificate request for host %s: %w", hostID, err)
	}
	return der, nil
}

// Enrolled says whether the host has a certificate, valid or not.
func (id *Identity) Enrolled() bool { return id != nil && id.Certificate != nil }

// Replace returns the identity with a key for an enrolment that is to replace it.
// One that was begun before is kept: the plane may know its key already, and its
// answer was lost.
func (id *Identity) Replace() (*Identity, error) {
	if id.Next != nil {
		return id, nil
	}
	fresh, err := New()
	if err != nil {
		return nil, err
	}
	return &Identity{Key: id.Key, Certificate: id.Certificate, CAs: id.CAs, Next: fresh.Key}, nil
}

// Candidate is the identity that enrols: of the next key where there is one.
func (id *Identity) Candidate() *Identity {
	if id.Next == nil {
		return id
	}
	return &Identity{Key: id.Next}
}

// Of says whether the identity comes from a CA that the pin vouches for: after a
// change of the plane's CA it does not.
func (id *Identity) Of(trust Trust) bool { return len(trust.keep(id.CAs)) > 0 }

// RenewAt returns when two thirds of the certificate's life are over.
func (id *Identity) RenewAt() time.Time {
	life := id.Certificate.NotAfter.Sub(id.Certificate.NotBefore)
	return id.Certificate.NotBefore.Add(life / 3 * 2)
}

// adopt takes an issued certificate after checking that it is for this key and
// signed by a CA that the pin, or a CA trusted before, vouches for.
func (id *Identity) adopt(trust Trust, der []byte, caDER [][]byte) (*Identity, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, failure(ReasonBadAnswer, "cannot use the certificate that the plane issued: %w", err)
	}
	if !id.Key.PublicKey.Equal(cert.PublicKey) {
		return nil, failure(ReasonBadAnswer, "cannot use the certificate that the plane issued: it is for another key")
	}
	all, err := parseAll(caDER)
	if err != nil {
		return nil, failure(ReasonBadAnswer, "cannot use the CA certificates that the plane sent: %w", err)
	}
	kept := trust.keep(all)
	if len(kept) == 0 {
		return nil, trust.pinError(all)
	}
	pool := x509.NewCertPool()
	for _, ca := range kept {
		pool.AddCert(ca)
	}
	// The times are judged at each connection; a host whose clock is off still
	// takes its certificate.
	_, err = cert.Verify(x509.VerifyOptions{
		Roots: pool, CurrentTime: cert.NotBefore.Add(time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, failure(ReasonBadAnswer, "cannot use the certificate that the plane issued: %w", err)
	}
	return &Identity{Key: id.Key, Certificate: cert, CAs: kept}, nil
}

func parseAll(ders [][]byte) ([]*x509.Certificate, error) {
	const maxCAs = 8
	if len(ders) > maxCAs {
		return nil, fmt.Errorf("%d CA certificates, at most %d are taken", len(ders), maxCAs)
	}
	certs := make([]*x509.Certificate, 0, len(ders))
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("cannot read a CA certificate: %w", err)
		}
		certs = append(certs, cert)
	}
	return certs, nil
}
