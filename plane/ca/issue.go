package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// OperatorURIPrefix precedes an operator's name in the URI SAN of the
// certificate.
const OperatorURIPrefix = "hybrid://operator/"

func newSerial() (*big.Int, error) {
	// RFC 5280, section 4.1.2.2: positive, at most 20 octets.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159))
	if err != nil {
		return nil, fmt.Errorf("cannot make a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

func selfSign(key *ecdsa.PrivateKey, now time.Time) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "hybrid-plane CA " + serial.Text(16)[:8]},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the CA's certificate: %w", err)
	}
	return der, nil
}

// issue signs a template whose validity is life from now.
func (a *Authority) issue(tmpl *x509.Certificate, pub crypto.PublicKey, life time.Duration) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.now()
	tmpl.SerialNumber = serial
	tmpl.NotBefore, tmpl.NotAfter = now.Add(-backdate), now.Add(life)
	tmpl.BasicConstraintsValid = true
	tmpl.KeyUsage |= x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("cannot sign a certificate for %q: %w", tmpl.Subject.CommonName, err)
	}
	return der, nil
}

// identityURI is a URI SAN with a name in its path.
func identityURI(host, name string) *url.URL {
	return &url.URL{Scheme: "hybrid", Host: host, Path: "/" + name}
}

// IssueHost signs a host's certificate for the key of its CSR.
func (a *Authority) IssueHost(pub crypto.PublicKey, hostID string) ([]byte, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: hostID},
		URIs:        []*url.URL{identityURI("host", hostID)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, pub, hostLife)
}

// IssueOperator makes a key and a certificate for an operator, both PEM.
func (a *Authority) IssueOperator(name string) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a key for operator %q: %w", name, err)
	}
	der, err := a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		URIs:        []*url.URL{identityURI("operator", name)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key.Public(), operatorLife)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot encode the key of operator %q: %w", name, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// IssueServer makes a key and a certificate for the plane's listener. It holds
// the CA as well: a host checks its pin against the chain that is presented.
func (a *Authority) IssueServer(names []string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make the server's key: %w", err)
	}
	tmpl := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "hybrid-plane"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
			continue
		}
		tmpl.DNSNames = append(tmpl.DNSNames, n)
	}
	der, err := a.issue(tmpl, key.Public(), serverLife)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the server's certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// issueSigning certifies the key that signs operations; no other certificate
// carries its URI.
func (a *Authority) issueSigning() (*x509.Certificate, error) {
	uri, err := url.Parse(agentv1.SigningCertificateURI)
	if err != nil {
		return nil, fmt.Errorf("cannot parse %s: %w", agentv1.SigningCertificateURI, err)
	}
	der, err := a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "hybrid-plane operation signing"},
		URIs:    []*url.URL{uri},
	}, a.sign.Public(), signingLife)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the signing certificate: %w", err)
	}
	return cert, nil
}
