package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"hybridagent/netcfg"
	"hybridagent/test/bench/floor"
)

const (
	pushTrials = 1000
	pushPause  = 5 * time.Millisecond
	pushWarmUp = 20 // pushes that are not counted
)

// pushSubject is a plane and a host that takes its pushes.
type pushSubject struct {
	protocol uint8
	payload  func(floor.Route) ([]byte, error)
	host     *host
	plane    *benchPlane
	child    *child
	monitor  floor.Socket
	took     []time.Duration
}

// newPushSubject makes host and plane; run starts what connects.
func newPushSubject(protocol uint8, payload func(floor.Route) ([]byte, error)) (s *pushSubject, err error) {
	s = &pushSubject{protocol: protocol, payload: payload, monitor: -1}
	if s.host, err = newHost(); err != nil {
		return s, err
	}
	if s.plane, err = newPlane(s.host); err != nil {
		return s, err
	}
	s.monitor, err = s.host.open(floor.RouteEvents)
	return s, err
}

func (s *pushSubject) stop() {
	if s.child != nil {
		s.child.stop()
	}
	if s.plane != nil {
		s.plane.stop()
	}
	if s.host != nil {
		s.host.close()
	}
	s.monitor.Close()
}

// trial pushes and waits for the kernel's notification, then for the answer.
func (s *pushSubject) trial(ctx context.Context, n int, buf []byte) error {
	route := vpcRoute(n, s.host.link, s.protocol)
	payload, err := s.payload(route)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := s.plane.push(ctx, payload); err != nil {
		return s.explain(err)
	}
	took, err := awaitRoute(s.monitor, route, begin, buf)
	if err != nil {
		return s.explain(fmt.Errorf("push %d did not reach the kernel: %w", n, err))
	}
	if n >= pushWarmUp {
		s.took = append(s.took, took)
	}
	return s.explain(s.plane.awaitResult(ctx))
}

// explain adds what the child said last.
func (s *pushSubject) explain(err error) error {
	if err == nil || s.child == nil {
		return err
	}
	return fmt.Errorf("%w; the child said: %s", err, s.child.stderr.b)
}

// push measures plane → kernel for the real agent and two floors in turn: one that,
// like the agent, has what it is about to do on disk before the kernel is touched, and
// one that keeps nothing.
func push(ctx context.Context, e *env) ([]Result, error) {
	low, err := startPushFloor(ctx, e, true)
	defer low.stop()
	if err != nil {
		return nil, err
	}
	plain, err := startPushFloor(ctx, e, false)
	defer plain.stop()
	if err != nil {
		return nil, err
	}
	ours, err := startPushOurs(ctx, e)
	defer ours.stop()
	if err != nil {
		return nil, err
	}
	subjects := []*pushSubject{low, plain, ours}
	buf := make([]byte, 8<<10)
	for n := range e.trials(pushTrials) + pushWarmUp {
		for i := range subjects {
			if err := subjects[(n+i)%len(subjects)].trial(ctx, n, buf); err != nil {
				return nil, err
			}
			time.Sleep(pushPause)
		}
	}
	at := func(s *pushSubject, p int) float64 { return micros(percentile(s.took, p)) }
	return []Result{
		compare("net.push_to_kernel.p50", "µs", at(ours, 50), at(low, 50), 1.5, nil),
		compare("net.push_to_kernel.p99", "µs", at(ours, 99), at(low, 99), 2, nil),
		compare("net.push_to_kernel.vs_no_record.p50", "µs", at(ours, 50), at(plain, 50), 1.5, nil),
	}, nil
}

func startPushOurs(ctx context.Context, e *env) (*pushSubject, error) {
	s, err := newPushSubject(netcfg.OwnProtocol, func(r floor.Route) ([]byte, error) { return assignment(agentHostID, r) })
	if err != nil {
		return s, err
	}
	a, err := newAgent(ctx, e, s.host, s.plane.ca.pin())
	if err != nil {
		return s, err
	}
	if s.child, err = a.start(ctx); err != nil {
		return s, err
	}
	return s, s.explain(s.plane.awaitHost(ctx))
}

func startPushFloor(ctx context.Context, e *env, durable bool) (*pushSubject, error) {
	s, err := newPushSubject(floor.Protocol, func(r floor.Route) ([]byte, error) { return floor.EncodeRoute(r), nil })
	if err != nil {
		return s, err
	}
	file := filepath.Join(e.dir, "floor.pem")
	if err := writePair(file, s.plane.ca); err != nil {
		return s, err
	}
	dir := ""
	if durable {
		if dir, err = os.MkdirTemp(e.dir, "floor-"); err != nil {
			return s, err
		}
	}
	if s.child, err = s.host.startRole(ctx, "push-floor", file, strconv.Itoa(s.host.link), dir); err != nil {
		return s, err
	}
	return s, s.explain(s.plane.awaitHost(ctx))
}

// writePair writes a host's key and certificate and the CA's into one file.
func writePair(file string, ca *authority) error {
	pair, err := ca.hostPair("floor")
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return err
	}
	var b []byte
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})...)
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})...)
	return os.WriteFile(file, b, 0o600)
}

// pushFloor is the child: arguments are the file of writePair, the NIC's index, and
// the folder to record in, or nothing.
func pushFloor(ctx context.Context, args []string, ready func()) error {
	pair, err := tls.LoadX509KeyPair(args[0], args[0])
	if err != nil {
		return err
	}
	ca, err := x509.ParseCertificate(pair.Certificate[1])
	if err != nil {
		return err
	}
	link, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}}
	var record func([]byte) error
	if args[2] != "" {
		record = floor.Record(args[2])
	}
	return floor.Push(ctx, planeAddress, config, vpcRoute(0, link, floor.Protocol), record, ready)
}
