package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"hybridagent/netcfg"
	"hybridagent/test/bench/floor"
)

const (
	bulkRounds = 15
	// bulkPause lets what follows a write (reading back, sleep) end before the next.
	bulkPause = 80 * time.Millisecond
	// rawRate is the least share of the raw floor's rate, bird's half its time.
	rawRate  = 0.7
	birdGoal = 0.5
)

// bulkStep is one write of all routes.
type bulkStep int

const (
	bulkInstall bulkStep = iota
	bulkReplace          // by another next hop
	bulkClear
	bulkSteps
)

// bulkSubject writes many routes in a host of its own.
type bulkSubject interface {
	// write does a step; it returns once the kernel has all of it.
	write(ctx context.Context, step bulkStep) error
	stop()
}

// bulkRoutes are n routes through the VPN server, or its neighbour.
func bulkRoutes(n, link int, protocol uint8, other bool) []floor.Route {
	routes := make([]floor.Route, n)
	for i := range routes {
		routes[i] = driftRoute(i, link, protocol)
		if other {
			routes[i].Gateway[3]++
		}
	}
	return routes
}

// bulkIDs are the figures that bulk gives.
func bulkIDs() []string {
	var ids []string
	for _, id := range []string{"net.bulk.install.1k", "net.bulk.install.10k", "net.bulk.replace.10k"} {
		ids = append(ids, id, id+".vs_bird")
	}
	return ids
}

// bulk measures both sizes for ours, the floor and the peers, in turn.
func bulk(ctx context.Context, e *env) ([]Result, error) {
	var results []Result
	for _, size := range []struct {
		n        int
		name     string
		replaces bool
	}{{1000, "1k", false}, {10000, "10k", true}} {
		took, err := bulkOf(ctx, e, size.n)
		if err != nil {
			return nil, err
		}
		results = append(results, bulkResults("net.bulk.install."+size.name, took, bulkInstall)...)
		if size.replaces {
			results = append(results, bulkResults("net.bulk.replace."+size.name, took, bulkReplace)...)
		}
	}
	return results, nil
}

// bulkTook are the times of each subject's steps.
type bulkTook map[string][bulkSteps][]time.Duration

func bulkResults(id string, took bulkTook, step bulkStep) []Result {
	p50 := func(who string) float64 { return millis(percentile(took[who][step], 50)) }
	peers := map[string]float64{"ip_batch": p50("ip"), "bird": p50("bird")}
	return []Result{
		compare(id, "ms", p50("ours"), p50("raw"), round(1/rawRate), peers),
		compare(id+".vs_bird", "ms", p50("ours"), p50("bird"), birdGoal, nil),
	}
}

func bulkOf(ctx context.Context, e *env, n int) (bulkTook, error) {
	starts := []struct {
		name  string
		start func(context.Context, *env, int) (bulkSubject, error)
	}{{"raw", startBulkRaw}, {"ours", startBulkOurs}, {"ip", startBulkIP}, {"bird", startBulkBird}}
	took := bulkTook{}
	var subjects []bulkSubject
	defer func() {
		for _, s := range subjects {
			s.stop()
		}
	}()
	for _, s := range starts {
		subject, err := s.start(ctx, e, n)
		if err != nil {
			return nil, fmt.Errorf("cannot start %s: %w", s.name, err)
		}
		subjects = append(subjects, subject)
	}
	for range e.trials(bulkRounds) {
		for i, s := range subjects {
			name := starts[i].name
			steps := took[name]
			for step := range bulkSteps {
				time.Sleep(bulkPause)
				begin := time.Now()
				if err := s.write(ctx, step); err != nil {
					return nil, fmt.Errorf("%s, step %d: %w", name, step, err)
				}
				steps[step] = append(steps[step], time.Since(begin))
			}
			took[name] = steps
		}
	}
	return took, nil
}

// bulkRaw sends messages that were made before.
type bulkRaw struct {
	host     *host
	socket   floor.Socket
	messages [bulkSteps][][]byte
	buf      []byte
}

func startBulkRaw(_ context.Context, _ *env, n int) (bulkSubject, error) {
	h, err := newHost()
	if err != nil {
		return nil, err
	}
	s := &bulkRaw{host: h, buf: make([]byte, 0, 64<<10)}
	for step, how := range map[bulkStep][2]int{
		bulkInstall: {unix.RTM_NEWROUTE, unix.NLM_F_CREATE | unix.NLM_F_EXCL},
		bulkReplace: {unix.RTM_NEWROUTE, unix.NLM_F_REPLACE}, bulkClear: {unix.RTM_DELROUTE, 0},
	} {
		for _, r := range bulkRoutes(n, h.link, floor.Protocol, step != bulkInstall) {
			s.messages[step] = append(s.messages[step], r.Message(how[0], how[1]|unix.NLM_F_ACK))
		}
	}
	s.socket, err = h.open(0)
	return s, err
}

func (s *bulkRaw) write(_ context.Context, step bulkStep) error {
	return s.socket.WriteBatches(s.messages[step], s.buf)
}

func (s *bulkRaw) stop() { s.socket.Close(); s.host.close() }

// bulkOurs is a Keeper, told what to want.
type bulkOurs struct {
	host    *host
	keeper  *netcfg.Keeper
	desired [bulkSteps]netcfg.Desired
	cancel  context.CancelFunc
	ended   chan struct{}
}

func startBulkOurs(ctx context.Context, _ *env, n int) (bulkSubject, error) {
	h, err := newHost()
	if err != nil {
		return nil, err
	}
	s := &bulkOurs{host: h, keeper: netcfg.NewKeeper(zap.NewNop(), netcfg.KeeperOptions{}), ended: make(chan struct{})}
	s.desired[bulkInstall].Routes = wanted(bulkRoutes(n, h.link, netcfg.OwnProtocol, false))
	s.desired[bulkReplace].Routes = wanted(bulkRoutes(n, h.link, netcfg.OwnProtocol, true))
	ctx, s.cancel = context.WithCancel(ctx)
	go func() {
		defer close(s.ended)
		_ = h.do(func() error { return s.keeper.Run(ctx) })
	}()
	return s, nil
}

// wanted has a Keeper want a floor's routes.
func wanted(routes []floor.Route) []netcfg.Route {
	want := make([]netcfg.Route, len(routes))
	for i, r := range routes {
		want[i] = netcfg.Route{
			Dst: netip.PrefixFrom(netip.AddrFrom4(r.Dst), int(r.Bits)), Gateway: netip.AddrFrom4(r.Gateway),
			Source: netip.AddrFrom4(r.Source), LinkIndex: r.Link, Protocol: netcfg.OwnProtocol,
			Type: netcfg.TypeUnicast, Table: netcfg.TableMain,
		}
	}
	return want
}

func (s *bulkOurs) write(ctx context.Context, step bulkStep) error {
	_, err := s.keeper.Set(ctx, s.desired[step])
	return err
}

func (s *bulkOurs) stop() {
	s.cancel()
	<-s.ended // a Keeper that failed has failed a Set before
	s.host.close()
}

// bulkIP is `ip -batch`.
type bulkIP struct {
	host  *host
	files [bulkSteps]string
}

func startBulkIP(_ context.Context, e *env, n int) (bulkSubject, error) {
	h, err := newHost()
	if err != nil {
		return nil, err
	}
	s := &bulkIP{host: h}
	for step, verb := range []string{"add", "replace", "del"} {
		var text strings.Builder
		for _, r := range bulkRoutes(n, h.link, floor.Protocol, bulkStep(step) != bulkInstall) {
			fmt.Fprintf(&text, "route %s %s via %s dev %s src %s proto static\n", verb, r.IPNet(),
				netip.AddrFrom4(r.Gateway), nicName, netip.AddrFrom4(r.Source))
		}
		s.files[step] = filepath.Join(e.dir, fmt.Sprintf("ip-%d-%s", n, verb))
		if err := os.WriteFile(s.files[step], []byte(text.String()), 0o600); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *bulkIP) write(ctx context.Context, step bulkStep) error {
	c, err := s.host.start(ctx, "ip", "-batch", s.files[step])
	if err != nil {
		return err
	}
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, c.stderr.b)
	}
	return nil
}

func (s *bulkIP) stop() { s.host.close() }
