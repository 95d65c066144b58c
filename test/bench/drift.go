package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"hybridagent/netcfg"
	"hybridagent/test/bench/floor"
)

const (
	// driftTrials per subject; p99 of fewer says little.
	driftTrials = 1500
	// driftRoutes are deleted in turn, so that one route is hit every few
	// seconds: damping is for fights, and this is none.
	driftRoutes = 256
	// driftMany is how many the subjects hold in the second measurement.
	driftMany = 10_000
	// driftPause lets a subject fall asleep between trials, as drift finds it.
	driftPause = 3 * time.Millisecond
)

// driftRoute is the n-th route that a subject holds.
func driftRoute(n, link int, protocol uint8) floor.Route {
	return floor.Route{
		Dst: [4]byte{10, 100 + byte(n>>8), byte(n), 0}, Bits: 24, Gateway: vpnServer(), Source: nodeIP(), Link: link, Protocol: protocol,
	}
}

func floorRoutes(args []string) ([]floor.Route, error) {
	link, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	routes := make([]floor.Route, count)
	for n := range routes {
		routes[n] = driftRoute(n, link, floor.Protocol)
	}
	return routes, nil
}

func repairRaw(_ context.Context, args []string, ready func()) error {
	routes, err := floorRoutes(args)
	if err != nil {
		return err
	}
	return floor.RepairRaw(routes, ready)
}

func repairVishvananda(_ context.Context, args []string, ready func()) error {
	routes, err := floorRoutes(args)
	if err != nil {
		return err
	}
	return floor.RepairVishvananda(routes, ready)
}

func repairOurs(ctx context.Context, args []string, ready func()) error {
	routes, err := floorRoutes(args)
	if err != nil {
		return err
	}
	want := wanted(routes)
	keeper := netcfg.NewKeeper(zap.NewNop(), netcfg.KeeperOptions{})
	ended := make(chan error, 1)
	go func() { ended <- keeper.Run(ctx) }()
	if _, err := keeper.Set(ctx, netcfg.Desired{Routes: want}); err != nil {
		return err
	}
	ready()
	return <-ended
}

// driftSubject is one repairer in its own host, with a driver's sockets.
type driftSubject struct {
	role     string
	protocol uint8
	host     *host
	child    *child
	writer   floor.Socket
	monitor  floor.Socket
	took     []time.Duration
}

func (s *driftSubject) start(ctx context.Context, routes int) (err error) {
	if s.host, err = newHost(); err != nil {
		return err
	}
	if s.child, err = s.host.startRole(ctx, s.role, strconv.Itoa(s.host.link), strconv.Itoa(routes)); err != nil {
		return err
	}
	if s.writer, err = s.host.open(0); err != nil {
		return err
	}
	s.monitor, err = s.host.open(floor.RouteEvents)
	return err
}

func (s *driftSubject) stop() {
	if s.child != nil {
		s.child.stop()
	}
	if s.host != nil {
		s.host.close()
	}
	s.writer.Close()
	s.monitor.Close()
}

// trial deletes the n-th route and waits until the kernel tells that it is back.
func (s *driftSubject) trial(n int, buf []byte) error {
	r := driftRoute(n, s.host.link, s.protocol)
	message := r.Message(unix.RTM_DELROUTE, 0)
	begin := time.Now()
	if err := s.writer.Send(message); err != nil {
		return fmt.Errorf("cannot delete route: %w", err)
	}
	took, err := awaitRoute(s.monitor, r, begin, buf)
	if err != nil {
		return fmt.Errorf("%s did not restore route %d: %w", s.role, n, err)
	}
	s.took = append(s.took, took)
	return nil
}

// awaitRoute reads the monitor until the route is announced.
func awaitRoute(monitor floor.Socket, r floor.Route, begin time.Time, buf []byte) (time.Duration, error) {
	for {
		n, err := monitor.Receive(buf)
		took := time.Since(begin)
		if err != nil {
			return 0, err
		}
		if kind, dst, bits := floor.Event(buf[:n]); kind == unix.RTM_NEWROUTE && dst == r.Dst && bits == r.Bits {
			return took, nil
		}
	}
}

// drift measures route deleted → route back.
func drift(ctx context.Context, e *env) ([]Result, error) {
	return driftAmong(ctx, e, "net.drift", driftRoutes)
}

// drift10k measures the same where each subject holds many routes.
func drift10k(ctx context.Context, e *env) ([]Result, error) {
	return driftAmong(ctx, e, "net.drift_10k", driftMany)
}

// driftAmong measures ours and both floors in turn.
func driftAmong(ctx context.Context, e *env, id string, routes int) ([]Result, error) {
	raw := &driftSubject{role: "repair-raw", protocol: floor.Protocol}
	vish := &driftSubject{role: "repair-vishvananda", protocol: floor.Protocol}
	ours := &driftSubject{role: "repair-ours", protocol: netcfg.OwnProtocol}
	subjects := []*driftSubject{raw, vish, ours}
	defer func() {
		for _, s := range subjects {
			s.stop()
		}
	}()
	for _, s := range subjects {
		s.writer, s.monitor = -1, -1
		if err := s.start(ctx, routes); err != nil {
			return nil, err
		}
	}
	buf := make([]byte, 8<<10)
	for n := range e.trials(driftTrials) {
		for i := range subjects {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err := subjects[(n+i)%len(subjects)].trial(n%driftRoutes, buf); err != nil {
				return nil, err
			}
			time.Sleep(driftPause)
		}
	}
	p50 := func(s *driftSubject) float64 { return micros(percentile(s.took, 50)) }
	p99 := func(s *driftSubject) float64 { return micros(percentile(s.took, 99)) }
	return []Result{
		compare(id+".p50", "µs", p50(ours), p50(raw), 3, map[string]float64{"vishvananda": p50(vish)}),
		compare(id+".p99", "µs", p99(ours), p99(vish), 2, map[string]float64{"raw": p99(raw)}),
	}, nil
}
