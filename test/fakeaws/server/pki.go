package server

import (
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
	"os"
	"path/filepath"
	"time"
)

// pki is the cluster's CA with the API server's certificate.
type pki struct {
	caPEM  []byte
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	server tls.Certificate
}

// loadPKI reads the CA from dir, or makes it and keeps it there; an empty dir keeps nothing. The server certificate is made anew.
func loadPKI(dir, host string) (*pki, error) {
	p := &pki{}
	if dir != "" {
		if err := p.read(dir); err == nil {
			return p, p.issueServer(host)
		} else if !os.IsNotExist(err) {
			return nil, err
		}
	}
	if err := p.create(); err != nil {
		return nil, err
	}
	if dir != "" {
		if err := p.write(dir); err != nil {
			return nil, err
		}
	}
	return p, p.issueServer(host)
}

func (p *pki) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("cannot make the cluster CA's key: %w", err)
	}
	tmpl := template("stand-in cluster CA", 1)
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("cannot make the cluster CA: %w", err)
	}
	p.key = key
	p.caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.ca, err = x509.ParseCertificate(der)
	return err
}

func (p *pki) write(dir string) error {
	der, err := x509.MarshalECPrivateKey(p.key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot keep the cluster CA: %w", err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), keyPEM, 0o600); err != nil {
		return fmt.Errorf("cannot keep the cluster CA: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "ca.crt"), p.caPEM, 0o644)
}

func (p *pki) read(dir string) error {
	caPEM, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		return fmt.Errorf("cannot read the cluster CA in %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("cannot use the cluster CA in %s: its key is %T, not ECDSA", dir, pair.PrivateKey)
	}
	p.caPEM, p.key = caPEM, key
	p.ca, err = x509.ParseCertificate(pair.Certificate[0])
	return err
}

// issueServer signs the API server's certificate for host, loopback and the service names.
func (p *pki) issueServer(host string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tmpl := template("kube-apiserver", 2)
	tmpl.DNSNames = []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"}
	tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	if ip := net.ParseIP(host); ip != nil {
		tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
	}
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.ca, &key.PublicKey, p.key)
	if err != nil {
		return fmt.Errorf("cannot sign the API server's certificate: %w", err)
	}
	p.server = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return nil
}

// signRequest answers a certificate request of a kubelet, as the cluster's approver and signer would.
func (p *pki) signRequest(req *x509.CertificateRequest) ([]byte, error) {
	tmpl := template(req.Subject.CommonName, time.Now().UnixNano())
	tmpl.Subject = req.Subject
	tmpl.DNSNames, tmpl.IPAddresses = req.DNSNames, req.IPAddresses
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.ca, req.PublicKey, p.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// template starts a day early and lasts ten years, so that lab hosts with a wrong clock still meet a valid certificate.
func template(cn string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
}
