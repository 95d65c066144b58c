package path

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a network whose answers a test sets.
type world struct {
	mu          sync.Mutex
	dead        bool
	deadMarks   map[uint32]bool
	mtu         int
	certificate Certificate
	tls         error

	probes, sized, handshakes int
}

func newWorld() *world { return &world{mtu: 9000, deadMarks: map[uint32]bool{}} }

// answer counts probes of the plan's own way and of VPN servers; those without a
// NIC are of suspects.
func (w *world) answer(way Way) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if way.NIC != "" {
		w.probes++
	}
	if w.dead || w.deadMarks[way.Mark] {
		return errors.New("no answer")
	}
	return nil
}

func (w *world) set(dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = dead
}

func (w *world) count() int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.probes
}

func (w *world) prober() Prober {
	return Prober{
		TCP:  func(_ context.Context, way Way, _ netip.AddrPort) error { return w.answer(way) },
		ICMP: func(_ context.Context, way Way, _ netip.Addr) error { return w.answer(way) },
		Sized: func(_ context.Context, _ Way, _ netip.Addr, size int) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sized++
			if size > w.mtu {
				return context.DeadlineExceeded
			}
			return nil
		},
		TLS: func(context.Context, Way, netip.AddrPort, string, int) (Certificate, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.handshakes++
			return w.certificate, w.tls
		},
		Neighbour: func(context.Context, netip.Addr) Presence { return PresenceUnknown },
		Filtered:  func() (uint64, error) { return 0, nil },
		Strict:    func(string, []netip.Addr) ([]string, error) { return nil, nil },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host == "gone.example" {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{netip.MustParseAddr("10.100.0.10"), netip.MustParseAddr("10.100.0.11")}, nil
		},
	}
}

func plan() Plan {
	return Plan{
		NIC: "lan0", Source: netip.MustParseAddr("10.200.0.11"), APIEndpoint: "10.100.0.10:443",
		Targets: []string{"10.100.0.1"}, Interval: 30 * time.Second,
	}
}

// observing runs a monitor by the fake clock.
func observing(t *testing.T, w *world, test func(m *Monitor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(w.prober(), func() {})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		<-m.Ready()
		test(m)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestFailureCountsWhenSeenTwice(t *testing.T) {
	t.Parallel()
	w := newWorld()
	observing(t, w, func(m *Monitor) {
		m.Set(plan())
		synctest.Wait()
		if r := m.Report(); r.Verdict != Healthy || len(r.Results) != 2 || !r.Results[0].API {
			t.Fatalf("report %+v", r)
		}
		w.set(true)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if r := m.Report(); r.Verdict != Healthy || r.Results[0].OK {
			t.Errorf("after one lost round: %+v", r)
		}
		time.Sleep(recheck)
		synctest.Wait()
		if r := m.Report(); r.Verdict != Unreachable {
			t.Errorf("after two lost rounds: %+v", r)
		}
		w.set(false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if r := m.Report(); r.Verdict != Healthy {
			t.Errorf("after it answered again: %+v", r)
		}
	})
}

func TestChangeOfRoutesProbesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	observing(t, w, func(m *Monitor) {
		m.Set(plan())
		first := w.count()
		m.Set(plan()) // the same: nothing to do
		if w.count() != first {
			t.Error("an equal plan was probed again")
		}
		changed := plan()
		changed.Routes = "10.100.0.0/16 via 10.200.0.2"
		m.Set(changed)
		if w.count() != first+2 {
			t.Errorf("%d probes after the routes changed, want %d", w.count(), first+2)
		}
		m.Set(Plan{})
		time.Sleep(time.Hour)
		if w.count() != first+2 {
			t.Error("probed without a plan")
		}
		if m.Report().Verdict != Unknown {
			t.Errorf("verdict without a plan: %v", m.Report().Verdict)
		}
	})
}

// TestVerdictIsOfItsPlan: that the former VPN server led somewhere says nothing of
// the next one, neither while it is probed nor when its first round fails.
func TestVerdictIsOfItsPlan(t *testing.T) {
	t.Parallel()
	w := newWorld()
	observing(t, w, func(m *Monitor) {
		m.Set(plan())
		synctest.Wait()
		if r := m.Report(); r.Verdict != Healthy {
			t.Fatalf("report %+v", r)
		}
		slower := plan()
		slower.Interval = time.Minute
		m.Set(slower)
		if r := m.Report(); r.Verdict != Healthy {
			t.Errorf("the interval is no other way: %+v", r)
		}
		synctest.Wait()
		w.set(true)
		changed := slower
		changed.Routes = "10.100.0.0/16 via 10.200.0.3"
		m.Set(changed)
		if r := m.Report(); r.Verdict != Unknown || len(r.Results) != 0 {
			t.Errorf("before the first round: %+v", r)
		}
		synctest.Wait()
		if r := m.Report(); r.Verdict != Unreachable {
			t.Errorf("after the first round: %+v", r)
		}
	})
}

func TestNamesAreResolvedToEveryAddress(t *testing.T) {
	t.Parallel()
	w := newWorld()
	observing(t, w, func(m *Monitor) {
		p := plan()
		p.APIEndpoint = "api.example:443"
		m.Set(p)
		synctest.Wait()
		if r := m.Report(); len(r.Results) != 3 || r.Results[1].Target != "10.100.0.11:443" || !r.Results[1].API {
			t.Errorf("report %+v", r)
		}
		p.APIEndpoint = "gone.example:443"
		m.Set(p)
		time.Sleep(recheck)
		synctest.Wait()
		if r := m.Report(); r.Verdict != NameUnresolved {
			t.Errorf("report %+v", r)
		}
	})
}
