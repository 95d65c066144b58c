//go:build demo

package e2e

import (
	"errors"
	"testing"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// TestFailoverAmongVPNServers: each of two VPN servers dies and returns, with a boot in between.
func TestFailoverAmongVPNServers(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{servers: lab.VPNServer + ", " + lab.StandbyVPN})
	kubelet, provisioned := s.kubelet(), s.provisioned()
	s.awaitRoute(lab.VPNServer, bound)
	firstOn, err := s.PowerOffVPN(s.ctx, "vpn")
	s.must(err)
	s.awaitAPI(10 * time.Second)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
	s.awaitServer(lab.VPNServer, false)

	s.must(s.edge().Host.PowerCut(s.ctx))
	s.reboot(kubelet)
	s.awaitAPI(30 * time.Second)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
	s.requireSameNode(provisioned)

	secondOn, err := s.CutTunnel(s.ctx, "vpn2")
	s.must(err)
	down := s.awaitCondition("PathHealthy", "FALSE", "VPN server", bound)
	t.Logf("with both dead: %s: %s", down.Reason, down.Message)
	s.awaitCondition("RoutesInstalled", "TRUE", "", bound)
	s.must(secondOn(s.ctx))
	s.awaitAPI(30 * time.Second)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))

	s.must(firstOn(s.ctx))
	s.awaitRoute(lab.VPNServer, 90*time.Second)
	s.awaitAPI(10 * time.Second)
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	s.requireSameNode(provisioned)
}

// awaitServer waits until the daemon shows that a VPN server answers, or does not.
func (s *site) awaitServer(address string, ok bool) {
	s.t.Helper()
	s.awaitStatus("the daemon's word on "+address, bound, func(status actors.Status) error {
		for _, server := range status.Network.VPNServers {
			if server.Address == address && server.OK == ok {
				return nil
			}
		}
		return errors.New("it shows something else")
	})
}
