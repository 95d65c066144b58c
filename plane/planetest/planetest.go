// Package planetest runs a real plane on loopback and plays hosts and operators
// against it, for the tests of the plane and of its command line. It is linked
// by tests only.
package planetest

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"hybridagent/plane"
	"hybridagent/plane/operator"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Plane is a running plane.
type Plane struct {
	plane.Info
	// Dir is its data directory.
	Dir string

	t       testing.TB
	cancel  context.CancelFunc
	done    chan error
	now     func() time.Time
	address string
	resolve func(context.Context, string) (string, error)
}

// Start runs a plane on a fresh data directory until the test ends.
func Start(t testing.TB) *Plane { return StartAt(t, time.Now) }

// StartAt is Start with a clock.
func StartAt(t testing.TB, now func() time.Time) *Plane {
	t.Helper()
	return start(t, now, nil)
}

// StartWithRegistry is Start with what answers for every registry.
func StartWithRegistry(t testing.TB, resolve func(ctx context.Context, image string) (string, error)) *Plane {
	t.Helper()
	return start(t, time.Now, resolve)
}

func start(t testing.TB, now func() time.Time, resolve func(context.Context, string) (string, error)) *Plane {
	t.Helper()
	p := &Plane{t: t, Dir: t.TempDir(), now: now, address: "127.0.0.1:0", resolve: resolve}
	p.run()
	t.Cleanup(p.Stop)
	return p
}

func (p *Plane) run() {
	p.t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(p.t.Context(), "tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.address = lis.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan error, 1)
	ready := make(chan plane.Info, 1)
	log := zaptest.NewLogger(p.t, zaptest.Level(zap.WarnLevel))
	go func() {
		p.done <- plane.Run(ctx, plane.Config{
			DataDir: p.Dir, Listener: lis, Version: "test", Log: log, UnsafeNoFsync: true, Now: p.now, ResolveImage: p.resolve,
			Ready: func(i plane.Info) { ready <- i },
		})
	}()
	select {
	case p.Info = <-ready:
	case err := <-p.done:
		p.done <- err
		p.t.Fatalf("plane did not start: %v", err)
	}
}

// Stop ends the plane and waits until it has.
func (p *Plane) Stop() {
	if p.cancel == nil {
		return
	}
	p.cancel()
	p.cancel = nil
	if err := <-p.done; err != nil {
		p.t.Errorf("plane ended with: %v", err)
	}
}

// Restart stops the plane and starts it again on the same data and address.
func (p *Plane) Restart() {
	p.t.Helper()
	p.Stop()
	p.run()
}

// Operator answers a client with the first operator's certificate.
func (p *Plane) Operator() planev1.PlaneServiceClient {
	p.t.Helper()
	file, err := operator.Read(p.ContextFile)
	if err != nil {
		p.t.Fatal(err)
	}
	cfg, err := file.TLS()
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := grpc.NewClient(p.Address, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return planev1.NewPlaneServiceClient(conn)
}

// Token makes an enrolment token for that many hosts.
func (p *Plane) Token(uses uint32) string {
	p.t.Helper()
	resp, err := p.Operator().CreateToken(p.t.Context(), &planev1.CreateTokenRequest{Uses: uses})
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.GetToken()
}

// Eventually polls until the condition holds, and fails the test with what it
// says when it does not within ten seconds.
func Eventually(t testing.TB, condition func() (bool, string)) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, why := condition()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within ten seconds: %s", why)
		}
	}
}
