package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"hybridagent/plane/store"
)

const (
	rootCertKey = "ca/root/certificate"
	rootKeyKey  = "ca/root/key"
	signKeyKey  = "ca/signing/key"

	rootLife     = 10 * 365 * 24 * time.Hour
	hostLife     = 90 * 24 * time.Hour
	serverLife   = 90 * 24 * time.Hour
	operatorLife = 365 * 24 * time.Hour
	signingLife  = 365 * 24 * time.Hour
	nodeLife     = 365 * 24 * time.Hour
	// backdate lets a host whose clock is behind accept a fresh certificate.
	backdate = 24 * time.Hour
)

// Authority issues certificates and signs operations; safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	sign ed25519.PrivateKey
	now  func() time.Time

	mu          sync.Mutex
	signingCert *x509.Certificate
}

// Load reads the authority from the store and makes it on the first start. now
// is the plane's clock.
func Load(ctx context.Context, st *store.Store, now func() time.Time) (*Authority, error) {
	a := &Authority{now: now}
	err := a.read(ctx, st)
	if errors.Is(err, store.ErrNotFound) {
		if err := create(ctx, st, now()); err != nil && !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
		err = a.read(ctx, st)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot load the certificate authority: %w", err)
	}
	return a, nil
}

func (a *Authority) read(ctx context.Context, st *store.Store) error {
	entry, err := st.Get(ctx, rootCertKey)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(entry.Value); err != nil {
		return fmt.Errorf("cannot parse %s: %w", rootCertKey, err)
	}
	root, err := readKey(ctx, st, rootKeyKey)
	if err != nil {
		return err
	}
	signing, err := readKey(ctx, st, signKeyKey)
	if err != nil {
		return err
	}
	var ok bool
	if a.key, ok = root.(*ecdsa.PrivateKey); !ok {
		return fmt.Errorf("%s holds a %T, want an ECDSA key", rootKeyKey, root)
	}
	if a.sign, ok = signing.(ed25519.PrivateKey); !ok {
		return fmt.Errorf("%s holds a %T, want an Ed25519 key", signKeyKey, signing)
	}
	return nil
}

func readKey(ctx context.Context, st *store.Store, key string) (any, error) {
	entry, err := st.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	der, err := st.Unseal(key, entry.Value)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("cannot parse %s: %w", key, err)
	}
	return k, nil
}

// create writes root and signing key in one commit, so that no half of an
// authority can exist.
func create(ctx context.Context, st *store.Store, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("cannot make the CA's key: %w", err)
	}
	_, sign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("cannot make the signing key: %w", err)
	}
	cert, err := selfSign(key, now)
	if err != nil {
		return err
	}
	rootKey, err := sealKey(st, rootKeyKey, key)
	if err != nil {
		return err
	}
	signKey, err := sealKey(st, signKeyKey, sign)
	if err != nil {
		return err
	}
	_, err = st.Commit(ctx, []store.Guard{{Key: rootCertKey, Revision: 0}},
		[]store.Write{{Key: rootCertKey, Value: cert}, rootKey, signKey})
	return err
}

func sealKey(st *store.Store, name string, key any) (store.Write, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return store.Write{}, fmt.Errorf("cannot encode %s: %w", name, err)
	}
	sealed, err := st.Seal(name, der)
	return store.Write{Key: name, Value: sealed}, err
}

// Certificate is the CA's certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Certificates are the DER certificates that hosts get, the current one first.
func (a *Authority) Certificates() [][]byte { return [][]byte{a.cert.Raw} }

// CertificatePEM is the CA's certificate as operators keep it.
func (a *Authority) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Pool holds the CA, for verifying clients.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Pin is what hosts are configured with: sha256: and the hexadecimal SHA-256 of
// the CA certificate's SubjectPublicKeyInfo.
func (a *Authority) Pin() string { return PinOf(a.cert) }

// PinOf computes the pin of a certificate.
func PinOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}
