// Package nodekey owns the node's key and certificate for IAM Roles Anywhere:
// the key is made on the host and never leaves it, the certificate comes from
// the plane. Both lie where nodeadm and aws_signing_helper look for them.
package nodekey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hybridagent/agent/store"
	"hybridagent/nodeadm"
)

// maxCertificate bounds a certificate, in bytes, as door.proto says.
const maxCertificate = 8 << 10

// Keeper owns the two files.
type Keeper struct {
	keyPath, certPath string
	hostID            string
	now               func() time.Time

	mutex sync.Mutex
}

// New returns the owner of the key and certificate below root, which is "/" but
// in tests. The certificate's CN must be the host ID.
func New(root, hostID string, now func() time.Time) *Keeper {
	return &Keeper{
		keyPath:  filepath.Join(root, nodeadm.PrivateKeyPath),
		certPath: filepath.Join(root, nodeadm.CertificatePath),
		hostID:   hostID,
		now:      now,
	}
}

// ErrNoCertificate says that no certificate is installed.
var ErrNoCertificate = errors.New("no node certificate is installed")

// ErrNotYetValid says that a certificate's validity begins later than what this
// host's clock says.
var ErrNotYetValid = errors.New("correct the clock")

// CSR returns a DER certificate signing request with CN = host ID. It makes the
// key where there is none; an existing key stays, so that a certificate that
// was issued for it stays good.
func (k *Keeper) CSR() ([]byte, error) {
	if err := nodeadm.CheckNodeName(k.hostID); err != nil {
		return nil, err
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	key, err := k.readKey()
	if errors.Is(err, fs.ErrNotExist) {
		key, err = k.makeKey()
	}
	if err != nil {
		return nil, err
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: k.hostID}}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("cannot make a certificate signing request for the node's key: %w", err)
	}
	return csr, nil
}

func (k *Keeper) makeKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make the node's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the node's key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(k.keyPath), 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the node's key: %w", err)
	}
	if err := store.WriteRaw(k.keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, fmt.Errorf("cannot keep the node's key: %w", err)
	}
	return key, nil
}

// readKey reads the key; fs.ErrNotExist where there is none. A key that cannot
// be used is an error, not a reason to replace it: it may be the operator's.
func (k *Keeper) readKey() (*ecdsa.PrivateKey, error) {
	content, err := os.ReadFile(k.keyPath)
	if err != nil {
		return nil, fmt.Errorf("cannot read the node's key: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("cannot read the node's key %s: it is not PEM; move it away to have a new one made", k.keyPath)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("cannot use the node's key %s: it is no ECDSA key in PKCS #8 or SEC 1; move it away to have a new one made", k.keyPath)
	}
	return key, nil
}

// Install puts a DER certificate where nodeadm looks for it, if it was issued
// for this host's key and name and is valid now.
func (k *Keeper) Install(der []byte) error {
	if len(der) > maxCertificate {
		return fmt.Errorf("cannot install a node certificate of %d bytes: more than %d", len(der), maxCertificate)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("cannot read the node certificate: %w", err)
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if err := k.check(cert); err != nil {
		return err
	}
	// Re-encoded from what was parsed: no byte but the certificate's own reaches
	// the file.
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	if err := store.WriteRaw(k.certPath, content, 0o600); err != nil {
		return fmt.Errorf("cannot install the node certificate: %w", err)
	}
	return nil
}

// check refuses a certificate that is not this host's.
func (k *Keeper) check(cert *x509.Certificate) error {
	key, err := k.readKey()
	if err != nil {
		return err
	}
	now := k.now()
	switch public, ok := cert.PublicKey.(*ecdsa.PublicKey); {
	case cert.IsCA:
		return errors.New("cannot use the node certificate: it is a CA certificate")
	case !ok || !public.Equal(&key.PublicKey):
		return errors.New("cannot use the node certificate: it was issued for another key than this host's")
	case cert.Subject.CommonName != k.hostID:
		return fmt.Errorf("cannot use the node certificate: its name is %q, this host is %q", cert.Subject.CommonName, k.hostID)
	case now.After(cert.NotAfter):
		return fmt.Errorf("cannot use the node certificate: it expired at %s, this host's clock says %s; correct the clock, or ask for a new certificate",
			cert.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("cannot use the node certificate: it is valid from %s, this host's clock says %s; %w",
			cert.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), ErrNotYetValid)
	}
	return nil
}

// Validity is from when to when a certificate may be used.
type Validity struct{ From, Until time.Time }

// Installed returns the validity of the installed certificate if it can be used
// now; ErrNoCertificate where there is none.
func (k *Keeper) Installed() (Validity, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	content, err := os.ReadFile(k.certPath)
	if errors.Is(err, fs.ErrNotExist) {
		return Validity{}, ErrNoCertificate
	}
	if err != nil {
		return Validity{}, fmt.Errorf("cannot read the node certificate: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return Validity{}, fmt.Errorf("cannot read the node certificate %s: it is not PEM; remove it to have a new one installed", k.certPath)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Validity{}, fmt.Errorf("cannot read the node certificate %s: %w; remove it to have a new one installed", k.certPath, err)
	}
	return Validity{cert.NotBefore, cert.NotAfter}, k.check(cert)
}

// Forget removes the certificate and then the key: the host is no node any more.
func (k *Keeper) Forget() error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for _, path := range []string{k.certPath, k.keyPath} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove the node's key and certificate: %w", err)
		}
	}
	return nil
}
