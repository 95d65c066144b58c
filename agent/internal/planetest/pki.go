package planetest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net/url"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func (p *Plane) certify(template, parent *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, p.caKey)
	if err != nil {
		p.tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		p.tb.Fatal(err)
	}
	return cert
}

func (p *Plane) leaf(name pkix.Name, life time.Duration, more func(*x509.Certificate)) *x509.Certificate {
	p.mu.Lock()
	p.serial++
	serial := p.serial + 1
	p.mu.Unlock()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: name, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	more(template)
	return template
}

// Pin is what plane.caPin must be.
func (p *Plane) Pin() string {
	sum := sha256.Sum256(p.ca.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Now is a time at which every certificate of the plane is valid.
func (p *Plane) Now() time.Time { return p.ca.NotBefore.Add(time.Hour) }

// Update encodes an assignment with its digest.
func Update(generation uint64, assignment *agentv1.Assignment) *agentv1.AssignmentUpdate {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(assignment)
	if err != nil {
		panic(err)
	}
	return Wrap(generation, encoded)
}

// Wrap puts encoded bytes, whatever they are, into an update with their digest.
func Wrap(generation uint64, encoded []byte) *agentv1.AssignmentUpdate {
	sum := sha256.Sum256(encoded)
	return &agentv1.AssignmentUpdate{Generation: generation, Digest: hex.EncodeToString(sum[:]), Assignment: encoded}
}

// Sign puts an operation into its envelope.
func (p *Plane) Sign(op *agentv1.Operation) *agentv1.SignedOperation {
	encoded, err := proto.Marshal(op)
	if err != nil {
		p.tb.Fatal(err)
	}
	return &agentv1.SignedOperation{
		Operation: encoded, Context: agentv1.OperationContext, Chain: [][]byte{p.signCert, p.ca.Raw},
		Signature: ed25519.Sign(p.signer, agentv1.SigningInput(agentv1.OperationContext, encoded)),
	}
}

func (p *Plane) issue(csrDER []byte) ([]byte, error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil || csr.CheckSignature() != nil {
		return nil, status.Error(codes.InvalidArgument, "bad CSR")
	}
	uri, _ := url.Parse(agentv1.HostCertificateURIPrefix + csr.Subject.CommonName)
	p.mu.Lock()
	life := p.CertificateLife
	p.known[string(csr.RawSubjectPublicKeyInfo)] = true
	p.mu.Unlock()
	return p.certify(p.leaf(csr.Subject, life, func(c *x509.Certificate) {
		c.URIs = []*url.URL{uri}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}), p.ca, csr.PublicKey).Raw, nil
}
