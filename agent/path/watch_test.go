package path

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hybridagent/netcfg"
)

// The VPN servers of the plan with a standby.
var serverA, serverB = netip.MustParseAddr("10.200.0.2"), netip.MustParseAddr("10.200.0.3")

// twoServers is a plan with a standby.
func twoServers() Plan {
	p := plan()
	p.Active = serverA
	p.Servers = []netcfg.ServerPath{{Server: serverA, Mark: 0x60}, {Server: serverB, Mark: 0x61}}
	return p
}

// TestHealthyHostIsQuiet: with one VPN server and nothing wrong, nothing is sent but
// a round each interval, and a checkup each ten minutes.
func TestHealthyHostIsQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld()
	observing(t, w, func(m *Monitor) {
		p := plan()
		p.Active, p.Servers = serverA, []netcfg.ServerPath{{Server: serverA}}
		p.Gateway, p.Internet = netip.MustParseAddr("10.200.0.1"), []string{"192.0.2.1:443"}
		m.Set(p)
		time.Sleep(time.Hour - time.Second)
		if n, want := w.count(), 2*120; n != want {
			t.Errorf("%d probes in an hour, want %d", n, want)
		}
		if w.handshakes != 6 || w.sized != 2*6 {
			t.Errorf("%d handshakes and %d sized packets in an hour, want 6 and 12", w.handshakes, w.sized)
		}
		if r := m.Report(); r.Round != 120 || len(r.Servers) != 1 || !r.Servers[0].OK || r.MTU.Path != usualMTU {
			t.Errorf("report %+v", r)
		}
	})
}

func TestServersAreProbedEachByItsMark(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var mu sync.Mutex
	var seen []string
	observing(t, w, func(m *Monitor) {
		m.OnServer = func(server netip.Addr, ok bool, _ time.Time) {
			mu.Lock()
			defer mu.Unlock()
			if state := server.String() + map[bool]string{true: " up", false: " down"}[ok]; !slices.Contains(seen, state) {
				seen = append(seen, state)
			}
		}
		p := twoServers()
		m.Set(p)
		synctest.Wait()
		if r := m.Report(); len(r.Servers) != 2 || !r.Servers[0].OK || !r.Servers[1].OK {
			t.Fatalf("servers %+v", r.Servers)
		}
		w.mu.Lock()
		w.deadMarks[0x61] = true
		w.mu.Unlock()
		time.Sleep(serverGap)
		synctest.Wait()
		r := m.Report()
		if s := r.Servers[1]; s.OK || s.Server != serverB || !strings.Contains(s.Error, "10.100.0.10:443 (no answer)") || time.Since(s.Since) > time.Second {
			t.Errorf("the dead one: %+v", s)
		}
		if !r.Servers[0].OK || r.Verdict != Healthy {
			t.Errorf("the active one: %+v", r)
		}
		p.Servers = []netcfg.ServerPath{p.Servers[1], p.Servers[0]}
		m.Set(p)
		if kept := m.Report(); kept.Verdict != Healthy || kept.Since != r.Since {
			t.Errorf("the order of servers is no other way: %+v", kept)
		}
		synctest.Wait()
		if r := m.Report(); r.Servers[0].Server != serverB || r.Servers[0].OK || r.Servers[0].Since.IsZero() || !r.Servers[1].OK {
			t.Errorf("in another order: %+v", r.Servers)
		}
	})
	slices.Sort(seen)
	if want := []string{"10.200.0.2 up", "10.200.0.3 down", "10.200.0.3 up"}; !slices.Equal(seen, want) {
		t.Errorf("told %v, want %v", seen, want)
	}
}

// TestDeadTargetIsNoDeadServer: another target that answers speaks for the server.
func TestDeadTargetIsNoDeadServer(t *testing.T) {
	t.Parallel()
	p := newWorld().prober()
	targets := literals(plan())
	errNoAnswer := errors.New("no answer")
	for name, tc := range map[string]struct {
		targets []Result
		tcp     error
		icmp    error
		present Presence
		told    int
		want    bool
	}{
		"the first answers":                       {targets, nil, errNoAnswer, Absent, 0, true},
		"the second answers":                      {targets, errNoAnswer, nil, Absent, 1, true},
		"none answers":                            {targets, errNoAnswer, errNoAnswer, Present, 1, false},
		"nothing to ask, it answers":              {nil, nil, nil, Absent, 0, true},
		"nothing to ask, it is in ARP":            {nil, nil, errNoAnswer, Present, 0, true},
		"nothing to ask, nobody there":            {nil, nil, errNoAnswer, Absent, 1, false},
		"ICMP only and not available, it is gone": {targets[1:], nil, errNoPing, Absent, 1, false},
	} {
		p.TCP = func(context.Context, Way, netip.AddrPort) error { return tc.tcp }
		p.ICMP = func(context.Context, Way, netip.Addr) error { return tc.icmp }
		p.Neighbour = func(context.Context, netip.Addr) Presence { return tc.present }
		told := 0
		if o := p.checkServer(t.Context(), Way{NIC: "lan0"}, serverA, tc.targets, func(time.Time) { told++ }); o.ok != tc.want || o.ok != (o.why == "") {
			t.Errorf("%s: %+v", name, o)
		}
		if told != tc.told {
			t.Errorf("%s: told of %d failures, want %d", name, told, tc.told)
		}
	}
}

// TestServersDeathIsJudgedAtOnce: the verdict does not wait for the next round.
func TestServersDeathIsJudgedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	observing(t, w, func(m *Monitor) {
		p := twoServers()
		p.Interval = time.Hour
		m.Set(p)
		synctest.Wait()
		w.set(true)
		time.Sleep(serverGap + recheck)
		synctest.Wait()
		if r := m.Report(); r.Verdict != Unreachable || r.Servers[0].OK {
			t.Errorf("report %+v", r)
		}
		w.set(false)
		time.Sleep(serverGap)
		synctest.Wait()
		if r := m.Report(); r.Verdict != Healthy || !r.Servers[0].OK {
			t.Errorf("when it is back: %+v", r)
		}
	})
}

func TestHurry(t *testing.T) {
	t.Parallel()
	w := newWorld()
	observing(t, w, func(m *Monitor) {
		p := plan()
		p.Hurry = true
		m.Set(p)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		r := m.Report()
		if r.Round < 10 || r.Round > 11 {
			t.Errorf("%d rounds in 20 s", r.Round)
		}
		w.set(true)
		time.Sleep(hurryGap)
		synctest.Wait()
		if r := m.Report(); r.Verdict != Unreachable {
			t.Errorf("held back in a hurry: %+v", r)
		}
	})
}

// TestLinkIsJudgedWithoutProbes: there is nothing to send them by.
func TestLinkIsJudgedWithoutProbes(t *testing.T) {
	t.Parallel()
	w := newWorld()
	observing(t, w, func(m *Monitor) {
		p := plan()
		p.Link = Link{Name: "lan0", Up: true, Carrier: true, Addressed: true}
		m.Set(p)
		synctest.Wait()
		sent := w.count()
		p.NIC, p.Source, p.Link.Addressed = "", netip.Addr{}, false
		m.Set(p)
		synctest.Wait()
		if r := m.Report(); r.Verdict != Unreachable || r.Segment != SegmentAddress || w.count() != sent {
			t.Errorf("report %+v after %d more probes", r, w.count()-sent)
		}
		w.set(true)
		p = plan()
		m.Set(p)
		synctest.Wait()
		if r := m.Report(); r.Verdict != Unreachable || r.Segment != SegmentTunnel {
			t.Errorf("what was healthy before says nothing of the NIC's return: %+v", r)
		}
		m.Set(Plan{})
		synctest.Wait()
		if r := m.Report(); r.Verdict != Unknown || r.Segment != SegmentNone {
			t.Errorf("without anything to probe: %+v", r)
		}
	})
}

// TestBlackHoleHealsWithTheRoute: the route's MTU is all that it takes.
func TestBlackHoleHealsWithTheRoute(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.mtu = 1400
	observing(t, w, func(m *Monitor) {
		p := plan()
		m.Set(p)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		r := m.Report()
		if r.Verdict != MTUBlackHole || r.Segment != SegmentMTU || r.MTU.Path > 1400 || r.MTU.Path <= 1400-nearMTU || !r.MTU.BlackHole {
			t.Fatalf("report %+v", r)
		}
		p.RouteMTU = r.MTU.Path
		m.Set(p)
		synctest.Wait()
		if healed := m.Report(); healed.Verdict != Healthy || healed.MTU.Path != r.MTU.Path {
			t.Errorf("report %+v", healed)
		}
		p.Routes = "10.100.0.0/16 via 10.200.0.2 mtu 1393"
		m.Set(p)
		if kept := m.Report(); kept.MTU.Path != r.MTU.Path {
			t.Errorf("the path MTU is forgotten with another route: %+v", kept)
		}
		p.Active = serverB
		m.Set(p)
		if other := m.Report(); other.MTU.Path != 0 {
			t.Errorf("another server's tunnel has its own MTU: %+v", other)
		}
		w.mu.Lock()
		w.mtu = 0 // nothing in the VPC answers such packets
		w.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if other := m.Report(); other.MTU.Path != 0 || other.Verdict != Healthy {
			t.Errorf("where it cannot be measured: %+v", other)
		}
	})
}

func TestHangingHandshake(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.tls = errHangs
	observing(t, w, func(m *Monitor) {
		m.Set(plan())
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if r := m.Report(); r.Verdict != APIUnreachable || r.Segment != SegmentAPI || !strings.Contains(r.Message, "TLS") {
			t.Errorf("report %+v", r)
		}
		w.mu.Lock()
		w.tls = nil
		w.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if r := m.Report(); r.Verdict != Healthy {
			t.Errorf("when it answers: %+v", r)
		}
	})
}
