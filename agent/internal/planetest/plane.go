// Package planetest owns a stand-in for the plane, in process, for tests of the
// agent: its own CA, enrolment with named tokens, and the stream. It decides
// nothing; a test says what the plane does.
package planetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Plane is the stand-in. Fields may be set before Start.
type Plane struct {
	agentv1.UnimplementedEnrollmentServiceServer
	agentv1.UnimplementedAgentServiceServer

	// Tokens maps a token to the error that it brings; nil: it enrols.
	Tokens map[string]error
	// CertificateLife of host certificates; default one hour.
	CertificateLife time.Duration
	// Keepalive of the welcome; default 30 s.
	Keepalive time.Duration
	// Greet, if set, is the first message instead of a welcome.
	Greet *agentv1.PlaneMessage
	// Mute leaves pings without an answer; may change at any time.
	Mute     atomic.Bool
	pings    atomic.Int64
	tb       testing.TB
	received chan *agentv1.AgentMessage
	kept     []*agentv1.AgentMessage // received and not awaited yet
	caKey    *ecdsa.PrivateKey
	ca       *x509.Certificate
	address  string
	server   *grpc.Server
	signer   ed25519.PrivateKey
	signCert []byte

	mu       sync.Mutex
	streams  map[chan *agentv1.PlaneMessage]struct{}
	serial   int64
	connects int
	enrolled int
	known    map[string]bool // public keys of hosts that are not removed
}

// New makes a plane with a fresh CA; Start makes it answer.
func New(tb testing.TB) *Plane {
	tb.Helper()
	p := &Plane{
		tb: tb, Tokens: map[string]error{"good": nil}, CertificateLife: time.Hour, Keepalive: 30 * time.Second,
		received: make(chan *agentv1.AgentMessage, 256), streams: map[chan *agentv1.PlaneMessage]struct{}{},
		known: map[string]bool{},
	}
	var err error
	if p.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	p.ca = p.certify(template, template, p.caKey.Public())
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	uri, _ := url.Parse(agentv1.SigningCertificateURI)
	p.signer = private
	p.signCert = p.certify(p.leaf(pkix.Name{CommonName: "signer"}, time.Hour, func(c *x509.Certificate) { c.URIs = []*url.URL{uri} }), p.ca, public).Raw
	return p
}

// Address is host:port; valid after Start.
func (p *Plane) Address() string { return p.address }

// Start answers on a free port of 127.0.0.1, or again on the one it had.
func (p *Plane) Start() {
	p.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.tb.Fatal(err)
	}
	cert := p.certify(p.leaf(pkix.Name{CommonName: "plane"}, time.Hour, func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}), p.ca, key.Public())
	clients := x509.NewCertPool()
	clients.AddCert(p.ca)
	listener, err := (&net.ListenConfig{}).Listen(p.tb.Context(), "tcp", orAny(p.address))
	if err != nil {
		p.tb.Fatal(err)
	}
	p.address = listener.Addr().String()
	p.server = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw, p.ca.Raw}, PrivateKey: key}},
			ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: clients,
		})),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second}),
	)
	agentv1.RegisterEnrollmentServiceServer(p.server, p)
	agentv1.RegisterAgentServiceServer(p.server, p)
	server := p.server
	go func() { _ = server.Serve(listener) }()
	p.tb.Cleanup(server.Stop)
}

// Stop ends every connection; Start may follow.
func (p *Plane) Stop() { p.server.Stop() }

// At makes Start answer on the address of another plane, which it replaces.
func (p *Plane) At(address string) { p.address = address }

// Forget removes every host: their certificates stay valid and are refused.
func (p *Plane) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = map[string]bool{}
}

func (p *Plane) knows(cert *x509.Certificate) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[string(cert.RawSubjectPublicKeyInfo)]
}

// EnrolCount is how many certificates tokens have brought.
func (p *Plane) EnrolCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enrolled
}

func orAny(address string) string {
	if address == "" {
		return "127.0.0.1:0"
	}
	return address
}

// Send says something to every connected host.
func (p *Plane) Send(message *agentv1.PlaneMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for stream := range p.streams {
		stream <- message
	}
}

// Assign sends an assignment.
func (p *Plane) Assign(generation uint64, assignment *agentv1.Assignment) *agentv1.AssignmentUpdate {
	update := Update(generation, assignment)
	p.Send(&agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Assignment{Assignment: update}})
	return update
}

// Enroll is part of EnrollmentService.
func (p *Plane) Enroll(_ context.Context, r *agentv1.EnrollRequest) (*agentv1.EnrollResponse, error) {
	p.mu.Lock()
	refusal, known := p.Tokens[r.GetToken()]
	p.mu.Unlock()
	switch {
	case !known:
		return nil, status.Error(codes.Unauthenticated, "no such token")
	case refusal != nil:
		return nil, refusal
	}
	cert, err := p.issue(r.GetCsr())
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.enrolled++
	p.mu.Unlock()
	return &agentv1.EnrollResponse{Certificate: cert, CaCertificates: [][]byte{p.ca.Raw}}, nil
}

// RenewCertificate is part of AgentService.
func (p *Plane) RenewCertificate(_ context.Context, r *agentv1.RenewCertificateRequest) (*agentv1.RenewCertificateResponse, error) {
	p.mu.Lock()
	p.CertificateLife = time.Hour
	p.mu.Unlock()
	cert, err := p.issue(r.GetCsr())
	if err != nil {
		return nil, err
	}
	return &agentv1.RenewCertificateResponse{Certificate: cert, CaCertificates: [][]byte{p.ca.Raw}}, nil
}

// Ping is part of AgentService.
func (p *Plane) Ping(ctx context.Context, _ *agentv1.PingRequest) (*agentv1.PingResponse, error) {
	if p.Mute.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	p.pings.Add(1)
	return &agentv1.PingResponse{}, nil
}

// Pings counts answered pings.
func (p *Plane) Pings() int { return int(p.pings.Load()) }

// Connect is part of AgentService.
func (p *Plane) Connect(stream agentv1.AgentService_ConnectServer) error {
	caller, _ := peer.FromContext(stream.Context())
	if info, ok := caller.AuthInfo.(credentials.TLSInfo); !ok || len(info.State.PeerCertificates) == 0 {
		return status.Error(codes.Unauthenticated, "no certificate")
	} else if !p.knows(info.State.PeerCertificates[0]) {
		return status.Error(codes.PermissionDenied, "the host was removed from the plane")
	}
	out := make(chan *agentv1.PlaneMessage, 64)
	p.mu.Lock()
	p.connects++
	p.streams[out] = struct{}{}
	first := p.Greet
	gap := p.Keepalive
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.streams, out)
		p.mu.Unlock()
	}()
	if first == nil {
		first = &agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Welcome{Welcome: &agentv1.Welcome{
			PlaneVersion: "test", PlaneTime: timestamppb.Now(), Keepalive: durationpb.New(gap),
		}}}
	}
	if err := stream.Send(first); err != nil {
		return err
	}
	go p.receive(stream)
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case message := <-out:
			if err := stream.Send(message); err != nil {
				return err
			}
		}
	}
}

func (p *Plane) receive(stream agentv1.AgentService_ConnectServer) {
	for {
		message, err := stream.Recv()
		if err != nil {
			return
		}
		select {
		case p.received <- message:
		case <-stream.Context().Done():
			return
		}
	}
}

// Await takes the first message that ok accepts, or fails the test after 15 s. The
// others stay for the next call.
func (p *Plane) Await(what string, ok func(*agentv1.AgentMessage) bool) *agentv1.AgentMessage {
	p.tb.Helper()
	for i, message := range p.kept {
		if ok(message) {
			p.kept = slices.Delete(p.kept, i, i+1)
			return message
		}
	}
	deadline := time.After(15 * time.Second)
	for {
		select {
		case message := <-p.received:
			if ok(message) {
				return message
			}
			p.kept = append(p.kept, message)
		case <-deadline:
			p.tb.Fatalf("the host did not send %s within 15 s; it sent %v", what, p.kept)
			return nil
		}
	}
}

// ConnectCount is how many streams hosts have opened.
func (p *Plane) ConnectCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connects
}
