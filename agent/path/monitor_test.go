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

func TestJudge(t *testing.T) {
	t.Parallel()
	api := func(ok bool) Result { return Result{Target: "10.100.0.10:443", Method: MethodTCP, API: true, OK: ok} }
	other := func(ok bool) Result { return Result{Target: "10.100.0.1", Method: MethodICMP, OK: ok} }
	off := Result{Target: "10.100.0.1", Method: MethodICMP, Unavailable: true}
	for name, tc := range map[string]struct {
		results []Result
		want    Verdict
	}{
		"nothing":                          {nil, Unknown},
		"only ICMP, which is off":          {[]Result{off}, Unknown},
		"API answers":                      {[]Result{api(true)}, Healthy},
		"API answers, gateway does not":    {[]Result{api(true), other(false)}, Healthy},
		"API answers, ICMP is off":         {[]Result{api(true), off}, Healthy},
		"no API, a target answers":         {[]Result{other(false), other(true)}, Healthy},
		"API dead, gateway answers":        {[]Result{api(false), other(true)}, APIUnreachable},
		"one of two API addresses":         {[]Result{api(true), api(false)}, APIUnreachable},
		"all dead":                         {[]Result{api(false), other(false)}, Unreachable},
		"API dead, ICMP is off":            {[]Result{api(false), off}, Unreachable},
		"no API, nothing answers":          {[]Result{other(false)}, Unreachable},
		"the name of the API is not known": {[]Result{{API: true, Error: "x"}, other(true)}, NameUnresolved},
	} {
		if got := judge(tc.results); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// world is a network whose answers a test sets.
type world struct {
	mu     sync.Mutex
	dead   bool
	probes int
}

func (w *world) answer() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probes++
	if w.dead {
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
		TCP:  func(context.Context, Plan, netip.AddrPort) error { return w.answer() },
		ICMP: func(context.Context, Plan, netip.Addr) error { return w.answer() },
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

// watch runs a monitor by the fake clock.
func watch(t *testing.T, w *world, test func(m *Monitor)) {
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
	w := &world{}
	watch(t, w, func(m *Monitor) {
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
	w := &world{}
	watch(t, w, func(m *Monitor) {
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
	w := &world{}
	watch(t, w, func(m *Monitor) {
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
	w := &world{}
	watch(t, w, func(m *Monitor) {
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
