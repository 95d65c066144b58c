//go:build demo

package e2e

import (
	"context"
	"testing"
	"time"

	"hybridagent/test/lab"
)

// TestLiveSwitchLeavesNodeAlone: a good live switch is on the route and in the pool, and node and kubelet notice nothing; a boot without
// the plane finds it in force.
func TestLiveSwitchLeavesNodeAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{})
	kubelet, provisioned := s.kubelet(), s.provisioned()
	presence := s.edge().Host.WatchPresence(vpc, ourProtocol, time.Millisecond)
	ready := s.watchReady()
	s.requireOutcome(s.setVPN(lab.StandbyVPN, "--live"), 0, "has VPN servers "+lab.StandbyVPN)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
	s.requirePool(lab.StandbyVPN)
	s.requireTraffic("vpn2")
	s.requireSameNode(provisioned)
	ready()
	seen, err := presence()
	s.must(err)
	if seen.Ratio() < 1 || seen.Samples == 0 {
		t.Errorf("the route was %s", seen)
	}
	if now := s.kubelet(); !now.Same(kubelet) {
		t.Errorf("kubelet was restarted: %+v, %+v before", now, kubelet)
	}

	s.must(s.plane.Process.Stop(10 * time.Second))
	s.must(s.edge().Host.PowerCut(s.ctx))
	s.reboot(kubelet)
	s.awaitRoute(lab.StandbyVPN, 10*time.Second)
	s.awaitCondition("RoutesInstalled", "TRUE", "", 5*time.Second) // and not on trial
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	s.awaitCondition("NodeReady", "TRUE", "", bound)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
	s.must(s.plane.Start(s.ctx))
	s.awaitCondition("Registered", "TRUE", "Connected", bound)
	s.requireSameNode(provisioned)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
}

// requireTraffic fails the test unless packets go through the tunnel of that VPN server, both ways.
func (s *site) requireTraffic(server string) {
	s.t.Helper()
	to, from, err := s.ForwardedBy(s.ctx, server)
	s.must(err)
	s.await("packets through "+server, bound, func(ctx context.Context) error {
		nowTo, nowFrom, err := s.ForwardedBy(ctx, server)
		if err == nil && (nowTo <= to || nowFrom <= from) {
			err = errNoTraffic
		}
		return err
	})
}
