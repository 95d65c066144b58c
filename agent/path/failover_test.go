package path

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"hybridagent/netcfg"
)

// TestDeadServerIsLeftWithinTenSeconds joins the probes' cadence with the failover
// that they are for: whenever within a round the server dies, and whether its
// silence has to be waited for or is told at once.
func TestDeadServerIsLeftWithinTenSeconds(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{true, false} {
		for phase := time.Millisecond; phase < serverGap; phase += 499 * time.Millisecond {
			w := newWorld()
			prober := w.prober()
			answer := func(ctx context.Context, way Way) error {
				err := w.answer(way)
				if err != nil && silent {
					<-ctx.Done()
					return ctx.Err()
				}
				return err
			}
			prober.TCP = func(ctx context.Context, way Way, _ netip.AddrPort) error { return answer(ctx, way) }
			prober.ICMP = func(ctx context.Context, way Way, _ netip.Addr) error { return answer(ctx, way) }
			synctest.Test(t, func(t *testing.T) {
				m := NewMonitor(prober, func() {})
				var failover netcfg.Failover
				left := make(chan time.Time, 1)
				servers := []netip.Addr{serverA, serverB}
				m.OnServer = func(server netip.Addr, ok bool, at time.Time) {
					failover.Observe(server, ok, at)
					if active, _ := failover.Choose(servers, time.Now()); active == serverB && len(left) == 0 {
						left <- time.Now()
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- m.Run(ctx) }()
				p := twoServers()
				p.Interval = time.Hour
				m.Set(p)
				time.Sleep(2*serverGap + phase)
				died := time.Now()
				w.mu.Lock()
				w.deadMarks[0x60] = true
				w.mu.Unlock()
				select {
				case at := <-left:
					if took := at.Sub(died); took > 10*time.Second {
						t.Errorf("silent %v, dies %s after a probe: left after %s", silent, phase, took)
					}
				case <-time.After(time.Minute):
					t.Errorf("silent %v, dies %s after a probe: not left", silent, phase)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		}
	}
}
