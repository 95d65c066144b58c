package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hybridagent/netcfg"
	"hybridagent/test/bench/floor"
)

const (
	startTrials = 100
	startWarmUp = 3 // starts that are not counted: page cache, CPU
	startPause  = 20 * time.Millisecond
)

// starter is a program that installs a route when it starts.
type starter struct {
	name  string
	host  *host
	route floor.Route
	exec  func(context.Context) (*child, error)
	took  []time.Duration
}

// start measures exec → route in the kernel: the agent with a cached assignment
// and no plane to reach, and the floor.
func start(ctx context.Context, e *env) ([]Result, error) {
	low, err := startFloor(ctx, e)
	if err != nil {
		return nil, err
	}
	defer low.host.close()
	ours, err := startOurs(ctx, e)
	if err != nil {
		return nil, err
	}
	defer ours.host.close()
	starters := []*starter{low, ours}
	for n := range e.trials(startTrials) + startWarmUp {
		for i := range starters {
			s := starters[(n+i)%len(starters)]
			took, err := s.trial(ctx)
			if err != nil {
				return nil, err
			}
			if n >= startWarmUp {
				s.took = append(s.took, took)
			}
			time.Sleep(startPause)
		}
	}
	return []Result{compare("start.exec_to_route.p50", "ms",
		millis(percentile(ours.took, 50)), millis(percentile(low.took, 50)), 1.5, nil)}, nil
}

// trial removes the route, starts the program and waits for the kernel.
func (s *starter) trial(ctx context.Context) (time.Duration, error) {
	writer, err := s.host.open(0)
	if err != nil {
		return 0, err
	}
	defer writer.Close()
	// An error (there is no route) is as good as success.
	if err := writer.Send(s.route.Message(unix.RTM_DELROUTE, 0)); err != nil {
		return 0, err
	}
	monitor, err := s.host.open(floor.RouteEvents) // sees nothing older
	if err != nil {
		return 0, err
	}
	defer monitor.Close()
	begin := time.Now()
	c, err := s.exec(ctx)
	if err != nil {
		return 0, err
	}
	took, err := awaitRoute(monitor, s.route, begin, make([]byte, 8<<10))
	c.kill()
	if err != nil {
		return 0, fmt.Errorf("%s installed no route: %w; it said: %s", s.name, err, c.stderr.b)
	}
	return took, nil
}

func startFloor(ctx context.Context, e *env) (*starter, error) {
	binary, err := e.build(ctx, "hybridagent/test/bench/floors/start")
	if err != nil {
		return nil, err
	}
	h, err := newHost()
	if err != nil {
		return nil, err
	}
	r := vpcRoute(0, h.link, unix.RTPROT_BOOT)
	args := []string{
		netip.PrefixFrom(netip.AddrFrom4(r.Dst), int(r.Bits)).String(), netip.AddrFrom4(r.Gateway).String(),
		netip.AddrFrom4(r.Source).String(), strconv.Itoa(h.link),
	}
	return &starter{name: "floor", host: h, route: r, exec: func(ctx context.Context) (*child, error) {
		return h.start(ctx, binary, args...)
	}}, nil
}

// startOurs lets the agent enrol and cache an assignment once; then its plane goes
// away.
func startOurs(ctx context.Context, e *env) (*starter, error) {
	s, err := newPushSubject(netcfg.OwnProtocol, nil)
	if err != nil {
		s.stop()
		return nil, err
	}
	a, err := newAgent(ctx, e, s.host, s.plane.ca.pin())
	if err == nil {
		err = s.fillCache(ctx, a)
	}
	s.plane.stop()
	s.monitor.Close()
	if err != nil {
		s.host.close()
		return nil, err
	}
	return &starter{name: "hybrid-agent", host: s.host, route: vpcRoute(0, s.host.link, netcfg.OwnProtocol), exec: a.start}, nil
}

func (s *pushSubject) fillCache(ctx context.Context, a *agent) (err error) {
	if s.child, err = a.start(ctx); err != nil {
		return err
	}
	defer func() { s.child.stop() }()
	if err := s.plane.awaitHost(ctx); err != nil {
		return s.explain(err)
	}
	payload, err := assignment(agentHostID, vpcRoute(0, s.host.link, netcfg.OwnProtocol))
	if err != nil {
		return err
	}
	if err := s.plane.push(ctx, payload); err != nil {
		return s.explain(err)
	}
	return s.explain(s.plane.awaitResult(ctx))
}
