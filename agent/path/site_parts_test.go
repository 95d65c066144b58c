package path

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// certificate is what the API server shows.
type certificate struct{ tls.Certificate }

// newCertificate makes one of a day's validity, with a chain of several kilobytes.
func newCertificate(t *testing.T, from time.Time) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "api.example"}, DNSNames: []string{"api.example"},
		NotBefore: from, NotAfter: from.Add(24 * time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: bytes.Repeat([]byte{4}, 2000)}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificate{tls.Certificate{Certificate: [][]byte{der, der, der}, PrivateKey: key}}
}

// serveTLS answers a handshake.
func (s *site) serveTLS(conn net.Conn) {
	stop := context.AfterFunc(s.vpc.t.Context(), func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(handshakeTime))
	_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.certificate.Load().Certificate}}).Handshake()
}

// nameServer is a DNS server whose answers a test sets.
type nameServer struct {
	mu     sync.Mutex
	addrs  []netip.Addr
	silent bool
}

func (n *nameServer) set(silent bool, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent, n.addrs = silent, nil
	for _, a := range addrs {
		n.addrs = append(n.addrs, netip.MustParseAddr(a))
	}
}

// serveNames answers every name with the addresses that are set; none: it does not
// exist.
func serveNames(s *space, address string) *nameServer {
	s.t.Helper()
	n := &nameServer{}
	var conn net.PacketConn
	var err error
	s.do(func() { conn, err = net.ListenPacket("udp4", address) })
	if err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		query := make([]byte, 512)
		for {
			size, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if answer := n.answer(query[:size]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	s.t.Cleanup(func() { _ = conn.Close(); <-ended })
	return n
}

func (n *nameServer) answer(query []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || n.silent {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	for _, addr := range n.addrs {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.AResource{A: addr.As4()},
		})
	}
	if len(n.addrs) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}
