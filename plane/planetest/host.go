package planetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Host plays an agent.
type Host struct {
	ID          string
	Fingerprint *agentv1.HardwareFingerprint
	Key         *ecdsa.PrivateKey
	Cert        []byte

	t testing.TB
	p *Plane
}

// NewHost makes a host that is not enrolled, of a machine of its own.
func (p *Plane) NewHost(id string) *Host {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	return &Host{ID: id, Key: key, Fingerprint: &agentv1.HardwareFingerprint{ProductUuid: "uuid-of-" + id}, t: p.t, p: p}
}

// Enrolled makes a host and enrols it.
func (p *Plane) Enrolled(id string) *Host {
	p.t.Helper()
	h := p.NewHost(id)
	if err := h.Enroll(p.Token(1)); err != nil {
		p.t.Fatal(err)
	}
	return h
}

// CSR is a request for the host's key with a name.
func (h *Host) CSR(name string) []byte {
	h.t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, h.Key)
	if err != nil {
		h.t.Fatal(err)
	}
	return csr
}

// Conn connects with the host's certificate, or with none.
func (h *Host) Conn() *grpc.ClientConn {
	h.t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(h.p.CAPEM) {
		h.t.Fatal("no CA")
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	if h.Cert != nil {
		cfg.Certificates = []tls.Certificate{{Certificate: [][]byte{h.Cert}, PrivateKey: h.Key}}
	}
	conn, err := grpc.NewClient(h.p.Address, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Enroll enrols the host and keeps its certificate.
func (h *Host) Enroll(token string) error {
	h.t.Helper()
	conn := h.Conn()
	defer func() { _ = conn.Close() }()
	resp, err := agentv1.NewEnrollmentServiceClient(conn).Enroll(h.t.Context(), &agentv1.EnrollRequest{
		Token: token, HostId: h.ID, Csr: h.CSR(h.ID), Fingerprint: h.Fingerprint,
	})
	if err != nil {
		return err
	}
	h.Cert = resp.GetCertificate()
	return nil
}

// Agent calls AgentService as the host.
func (h *Host) Agent() agentv1.AgentServiceClient {
	h.t.Helper()
	return agentv1.NewAgentServiceClient(h.Conn())
}

// Stream is the host's stream; what came is kept in order.
type Stream struct {
	Welcome *agentv1.Welcome

	t      testing.TB
	stream grpc.BidiStreamingClient[agentv1.AgentMessage, agentv1.PlaneMessage]
	cancel context.CancelFunc
	in     chan *agentv1.PlaneMessage
	err    error // valid once in is closed
}

// Connect opens a stream that holds the assignment of that number and digest,
// and waits for the welcome.
func (h *Host) Connect(generation uint64, digest string) *Stream {
	h.t.Helper()
	s, err := h.TryConnect(&agentv1.Hello{HostId: h.ID, AgentVersion: "v0", Fingerprint: h.Fingerprint, Generation: generation, Digest: digest})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// TryConnect opens a stream with a hello, and answers the error with which the
// plane refuses it.
func (h *Host) TryConnect(hello *agentv1.Hello) (*Stream, error) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn := h.Conn()
	stream, err := agentv1.NewAgentServiceClient(conn).Connect(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &Stream{t: h.t, stream: stream, cancel: cancel, in: make(chan *agentv1.PlaneMessage, 64)}
	// io.EOF: the plane has ended the stream already, and Recv knows why.
	if err := stream.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Hello{Hello: hello}}); err != nil && !errors.Is(err, io.EOF) {
		cancel()
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		cancel()
		_ = conn.Close()
		return nil, err
	}
	s.Welcome = first.GetWelcome()
	go s.receive()
	h.t.Cleanup(s.Close)
	return s, nil
}

func (s *Stream) receive() {
	defer close(s.in)
	for {
		m, err := s.stream.Recv()
		if err != nil {
			s.err = err
			return
		}
		s.in <- m
	}
}

// Close ends the stream from the host's side.
func (s *Stream) Close() { s.cancel() }

// Send sends a message.
func (s *Stream) Send(m *agentv1.AgentMessage) {
	s.t.Helper()
	if err := s.stream.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

// Next answers the next message, an error when the stream has ended.
func (s *Stream) Next() (*agentv1.PlaneMessage, error) {
	s.t.Helper()
	select {
	case m, ok := <-s.in:
		if !ok {
			return nil, s.err
		}
		return m, nil
	case <-time.After(10 * time.Second):
		s.t.Fatal("no message within ten seconds")
		return nil, errors.New("unreachable")
	}
}

// Assignment answers the next message, which must be an assignment.
func (s *Stream) Assignment() *agentv1.AssignmentUpdate {
	s.t.Helper()
	m, err := s.Next()
	if err != nil || m.GetAssignment() == nil {
		s.t.Fatalf("want an assignment, got %v, %v", m, err)
	}
	return m.GetAssignment()
}

// Operation answers the next message, which must be an operation.
func (s *Stream) Operation() *agentv1.SignedOperation {
	s.t.Helper()
	m, err := s.Next()
	if err != nil || m.GetOperation() == nil {
		s.t.Fatalf("want an operation, got %v, %v", m, err)
	}
	return m.GetOperation()
}

// Accept reports an assignment as taken, and the host as ready to be
// provisioned with a node IP.
func (s *Stream) Accept(u *agentv1.AssignmentUpdate, nodeIP string) {
	s.t.Helper()
	s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_AssignmentResult{AssignmentResult: &agentv1.AssignmentResult{
		Generation: u.GetGeneration(), Digest: u.GetDigest(), Accepted: true,
	}}})
	s.Status(&agentv1.HostStatus{Generation: u.GetGeneration(), NodeIp: nodeIP, Nic: "eth0", ReadyToProvision: true})
}

// Status reports the host's state.
func (s *Stream) Status(st *agentv1.HostStatus) {
	s.t.Helper()
	s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Status{Status: st}})
}

// Progress reports how an operation goes.
func (s *Stream) Progress(p *agentv1.OperationProgress) {
	s.t.Helper()
	s.Send(&agentv1.AgentMessage{Message: &agentv1.AgentMessage_Operation{Operation: p}})
}
