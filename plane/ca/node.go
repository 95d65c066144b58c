package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// NodeCA is the root that a cluster's IAM Roles Anywhere trust anchor holds.
type NodeCA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// ParseNodeCA reads certificate and key from PEM and proves that they belong
// together and may sign certificates.
func ParseNodeCA(certPEM, keyPEM string) (*NodeCA, error) {
	block, _ := pem.Decode([]byte(certPEM))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM block CERTIFICATE found")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the certificate: %w", err)
	}
	if !cert.IsCA || (cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0) {
		return nil, fmt.Errorf("certificate %q is not one of a CA", cert.Subject)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("the private key does not belong to certificate %q", cert.Subject)
	}
	return &NodeCA{cert: cert, key: key}, nil
}

func parseKey(keyPEM string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(keyPEM))
	if block == nil {
		return nil, errors.New("no PEM block with a private key found")
	}
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("PEM block %s is no private key of a known kind; give EC PRIVATE KEY, RSA PRIVATE KEY or PRIVATE KEY, unencrypted", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot parse the private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T cannot sign", key)
	}
	return signer, nil
}

// IssueNode signs the node's certificate: CN is the node's name, as IAM Roles
// Anywhere's session name and the cluster's access entry expect it.
func (n *NodeCA) IssueNode(pub crypto.PublicKey, nodeName string, now time.Time) ([]byte, error) {
	if now.After(n.cert.NotAfter) {
		return nil, fmt.Errorf("cannot sign a certificate for node %q: the cluster's Roles Anywhere CA expired on %s; renew caCertificate in the HybridCluster",
			nodeName, n.cert.NotAfter.UTC().Format(time.DateOnly))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	end := now.Add(nodeLife)
	if end.After(n.cert.NotAfter) {
		end = n.cert.NotAfter
	}
	// AWS asks of end entities: digitalSignature, and no CA (IAM Roles Anywhere
	// user guide, "Signature verification").
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: nodeName},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, n.cert, pub, n.key)
	if err != nil {
		return nil, fmt.Errorf("cannot sign a certificate for node %q: %w", nodeName, err)
	}
	return der, nil
}
