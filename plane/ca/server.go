package ca

import (
	"crypto/tls"
	"sync"
)

// ServerConfig is the listener's TLS configuration: TLS 1.3, a certificate for
// the names that renews itself, clients' certificates verified where given.
// Whether one is needed is decided for each call.
func (a *Authority) ServerConfig(names []string) (*tls.Config, error) {
	cert, err := a.IssueServer(names)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  a.Pool(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			if Due(cert.Leaf, a.now()) {
				next, err := a.IssueServer(names)
				if err != nil {
					return nil, err
				}
				cert = next
			}
			return cert, nil
		},
	}, nil
}
