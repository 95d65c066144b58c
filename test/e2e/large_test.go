//go:build demo

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"

	"hybridagent/test/lab"
)

// largeBody is far more than one window of small packets.
const largeBody = 256 << 10

// largeAPI is a server beside the cluster's API whose certificate does not fit into one packet.
type largeAPI struct {
	address string
	roots   *x509.CertPool
}

// serveLarge serves at the API's address until the test ends.
func (s *site) serveLarge() largeAPI {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(lab.EKSEndpoint)}, IsCA: true, BasicConstraintsValid: true,
	}
	for i := range 200 {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("name-%d.of.a.large.certificate.example", i))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	s.must(err)
	certificate, err := x509.ParseCertificate(der)
	s.must(err)
	api := largeAPI{address: lab.EKSEndpoint + ":8443", roots: x509.NewCertPool()}
	api.roots.AddCert(certificate)
	var listener net.Listener
	s.must(s.Host("vpc").Do(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(s.ctx, "tcp4", api.address)
		return err
	}))
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // of connections that are meant to break
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = w.Write(make([]byte, largeBody))
		}),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ServeTLS(listener, "", "")
	}()
	s.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return api
}

// fetchLarge sends and gets large bodies over a new connection from the first host.
func (s *site) fetchLarge(ctx context.Context, api largeAPI) error {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		err := s.edge().Host.Do(func() (err error) {
			conn, err = (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	client := &http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{
		DialContext: dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: api.roots, MinVersion: tls.VersionTLS13},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+api.address+"/", io.LimitReader(zeros{}, largeBody))
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, err := io.Copy(io.Discard, answer.Body)
	if err == nil && got != largeBody {
		err = fmt.Errorf("got %d bytes of %d", got, largeBody)
	}
	return err
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
