package operator

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// parseCertificate reads the first certificate of a PEM text.
func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM block CERTIFICATE found")
	}
	return x509.ParseCertificate(block.Bytes)
}
