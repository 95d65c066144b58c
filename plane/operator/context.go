// Package operator is the file that lets an operator's command line reach a
// plane: its address, its CA, a certificate and a key. It does not connect.
package operator

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	yaml "github.com/goccy/go-yaml"
	"github.com/google/renameio/v2"
)

// Context is the content of the file.
type Context struct {
	// Address of the plane, host:port.
	Address string `yaml:"address"`
	// CA certificate of the plane, PEM.
	CA string `yaml:"ca"`
	// Certificate of the operator, PEM.
	Certificate string `yaml:"certificate"`
	// Key of the operator, PEM; secret.
	Key string `yaml:"key"`
}

// Write makes the file, 0600.
func (c Context) Write(path string) error {
	b, err := yaml.MarshalWithOptions(c, yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return fmt.Errorf("cannot encode context file %s: %w", path, err)
	}
	if err := renameio.WriteFile(path, b, 0o600, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("cannot write context file %s: %w", path, err)
	}
	return nil
}

// Read reads the file; unknown keys are refused.
func Read(path string) (Context, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Context{}, fmt.Errorf("there is no context file %s; copy admin-context.yaml from the plane's data directory there, or name it with --context", path)
	}
	if err != nil {
		return Context{}, fmt.Errorf("cannot read context file: %w", err)
	}
	var c Context
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&c); err != nil {
		// The library's long form quotes the source, and with it the key.
		return Context{}, fmt.Errorf("context file %s is not valid: %s", path, yaml.FormatError(err, false, false))
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return Context{}, fmt.Errorf("context file %s is not valid: address %q is no host:port", path, c.Address)
	}
	return c, nil
}

// CACertificate is the plane's CA.
func (c Context) CACertificate() (*x509.Certificate, error) {
	cert, err := parseCertificate([]byte(c.CA))
	if err != nil {
		return nil, fmt.Errorf("ca of the context file is not valid: %w", err)
	}
	return cert, nil
}

// Leaf is the operator's certificate.
func (c Context) Leaf() (*x509.Certificate, error) {
	cert, err := parseCertificate([]byte(c.Certificate))
	if err != nil {
		return nil, fmt.Errorf("certificate of the context file is not valid: %w", err)
	}
	return cert, nil
}

// TLS is the configuration for a connection to the plane.
func (c Context) TLS() (*tls.Config, error) {
	cert, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.Key))
	if err != nil {
		return nil, fmt.Errorf("certificate and key of the context file are not valid: %w", err)
	}
	root, err := c.CACertificate()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return nil, fmt.Errorf("address %q of the context file is no host:port", c.Address)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ServerName:   host,
		NextProtos:   []string{"h2"},
	}, nil
}
