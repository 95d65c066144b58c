package session

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/agent/config"
	"hybridagent/agent/identity"
	"hybridagent/agent/internal/planetest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// recorder is the host's side in these tests.
type recorder struct {
	mu         sync.Mutex
	id         *identity.Identity
	renewed    int
	operations int
}

func (r *recorder) Hello() *agentv1.Hello { return &agentv1.Hello{HostId: "edge-1"} }
func (r *recorder) Welcomed(uint64)       {}
func (r *recorder) Assignment(context.Context, *agentv1.AssignmentUpdate) {
}
func (r *recorder) Operation(*agentv1.SignedOperation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations++
}
func (r *recorder) NodeCertificate(*agentv1.NodeCertificateResponse) {}
func (r *recorder) Renewed(id *identity.Identity) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id = id
	r.renewed++
	return nil
}

func (r *recorder) identity() *identity.Identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id
}

func trustOf(t *testing.T, p *planetest.Plane) identity.Trust {
	t.Helper()
	pin, err := config.ParsePin(p.Pin())
	if err != nil {
		t.Fatal(err)
	}
	return identity.Trust{Pin: pin, ServerName: "127.0.0.1"}
}

func enrolled(t *testing.T, p *planetest.Plane) *identity.Identity {
	t.Helper()
	id, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	trust, handshake := trustOf(t, p), &identity.Handshake{}
	conn, err := Dial(p.Address(), trust.TLS(nil, handshake), DefaultKeepalive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	id, err = id.Enroll(t.Context(), conn, handshake, trust, identity.EnrollRequest{Address: p.Address(), Token: "good", HostID: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// open runs a session through address until the end of the test.
func open(t *testing.T, p *planetest.Plane, address string) (*Session, *recorder, chan State) {
	t.Helper()
	host := &recorder{id: enrolled(t, p)}
	states := make(chan State, 64)
	s := New(Options{
		Log: zaptest.NewLogger(t), Address: address, HostID: "edge-1", Handler: host, Outbox: NewOutbox(),
		Trust: func() identity.Trust { return trustOf(t, p) }, Identity: host.identity,
		OnState: func(state State) { states <- state },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	return s, host, states
}

func await(t *testing.T, states chan State, within time.Duration, ok func(State) bool) State {
	t.Helper()
	deadline := time.After(within)
	for {
		select {
		case state := <-states:
			if ok(state) {
				return state
			}
		case <-deadline:
			t.Fatalf("the state did not come within %s", within)
		}
	}
}

func connected(s State) bool { return s.Connected }

func TestStateOfTheWorldAfterReconnect(t *testing.T) {
	t.Parallel()
	p := planetest.New(t)
	p.Start()
	s, _, states := open(t, p, p.Address())
	await(t, states, 10*time.Second, connected)
	s.opt.Outbox.SetInventory(&agentv1.Inventory{Hostname: "shop"})
	s.opt.Outbox.SetStatus(&agentv1.HostStatus{Nic: "lan0"})
	s.opt.Outbox.SetOperation(&agentv1.OperationProgress{OperationId: "one"})
	isInventory := func(m *agentv1.AgentMessage) bool { return m.GetInventory().GetHostname() == "shop" }
	isStatus := func(m *agentv1.AgentMessage) bool { return m.GetStatus().GetNic() == "lan0" }
	isOperation := func(m *agentv1.AgentMessage) bool { return m.GetOperation().GetOperationId() == "one" }
	for range 2 {
		p.Await("inventory", isInventory)
		p.Await("status", isStatus)
		p.Await("operation", isOperation)
		p.Stop()
		await(t, states, 10*time.Second, func(s State) bool { return !s.Connected })
		p.Start()
		await(t, states, 20*time.Second, connected)
	}
}

func TestPlanesKeepaliveIsTaken(t *testing.T) {
	t.Parallel()
	p := planetest.New(t)
	p.Keepalive = 90 * time.Second
	p.Start()
	s, _, states := open(t, p, p.Address())
	await(t, states, 10*time.Second, connected)
	if s.ping != 90*time.Second || p.ConnectCount() != 2 {
		t.Errorf("keepalive %s after %d connects; want 90s after 2", s.ping, p.ConnectCount())
	}
}

func TestGoodbyeWithRetryAfter(t *testing.T) {
	t.Parallel()
	p := planetest.New(t)
	p.Greet = &agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_Goodbye{Goodbye: &agentv1.Goodbye{
		RetryAfter: durationpb.New(time.Hour), Reason: "the plane is full",
	}}}
	p.Start()
	_, _, states := open(t, p, p.Address())
	state := await(t, states, 10*time.Second, func(s State) bool { return s.LastError != nil })
	if !strings.Contains(state.LastError.Error(), "the plane is full") || time.Until(state.NextAttempt) < 59*time.Minute {
		t.Errorf("state %+v", state)
	}
}

func TestCertificateIsRenewedAtTwoThirdsOfItsLife(t *testing.T) {
	t.Parallel()
	p := planetest.New(t)
	p.CertificateLife = 10 * time.Second // begun a minute ago: two thirds are over
	p.Start()
	_, host, states := open(t, p, p.Address())
	await(t, states, 10*time.Second, connected)
	for deadline := time.Now().Add(10 * time.Second); ; {
		if host.identity().Certificate.NotAfter.After(time.Now().Add(30 * time.Minute)) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("not renewed within 10 s")
		}
		select {
		case <-states:
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.Stop()
	p.Start()
	await(t, states, 20*time.Second, connected) // with the new certificate
}

// TestDeadStreamIsNoticed: packets vanish, no connection is closed.
func TestDeadStreamIsNoticed(t *testing.T) {
	t.Parallel()
	p := planetest.New(t)
	p.Keepalive = 10 * time.Second
	p.Start()
	hole := newBlackHole(t, p.Address())
	_, _, states := open(t, p, hole.address)
	await(t, states, 15*time.Second, connected)
	hole.swallow.Store(true)
	began := time.Now()
	await(t, states, 60*time.Second, func(s State) bool { return !s.Connected })
	t.Logf("noticed after %s", time.Since(began).Round(time.Second))
	hole.swallow.Store(false)
	await(t, states, 30*time.Second, connected)
}

// blackHole forwards TCP until it is told to swallow everything.
type blackHole struct {
	address string
	swallow atomic.Bool
}

func newBlackHole(t *testing.T, to string) *blackHole {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hole := &blackHole{address: listener.Addr().String()}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	keep := func(c net.Conn) { mu.Lock(); conns = append(conns, c); mu.Unlock() }
	all.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			keep(in)
			keep(out)
			all.Go(func() { hole.copy(out, in) })
			all.Go(func() { hole.copy(in, out) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return hole
}

func (h *blackHole) copy(to io.WriteCloser, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			if !h.swallow.Load() {
				_ = to.Close()
			}
			return
		}
		if !h.swallow.Load() {
			_, _ = to.Write(buffer[:n])
		}
	}
}
