//go:build demo

package e2e

import (
	"strings"
	"testing"
	"time"

	"hybridagent/test/lab"
)

// nobody is an address of the site's network that no host has.
const nobody = "10.200.0.99"

// TestTrialIsRolledBackAfterPowerCut: the host reaches its plane over the office network, so that only the VPC's verdict can tell that the
// new VPN server is none.
func TestTrialIsRolledBackAfterPowerCut(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{})
	kubelet, provisioned := s.kubelet(), s.provisioned()
	switched := s.beginSetVPN(nobody, "--live")
	s.onTrial(nobody)
	s.passes(5 * time.Second)
	s.must(s.edge().Host.PowerCut(s.ctx))
	booted := time.Now()
	s.reboot(kubelet)
	s.awaitRoute(lab.VPNServer, 90*time.Second)
	t.Logf("back on the old route %s after boot", time.Since(booted).Round(time.Millisecond))
	s.requireOutcome(switched(), 1, "did not switch", "restarted before it was confirmed")
	s.requirePool(lab.VPNServer)
	s.requireSameNode(provisioned)
	s.must(s.routeVia(s.ctx, lab.VPNServer))
	described, err := s.operator.Try(s.ctx, "describe", "host", s.id())
	s.must(err)
	if !strings.Contains(strings.ToLower(described.Text), "failed") {
		t.Errorf("hybridctl describe does not say that the switch failed: %s", described.Text)
	}
}

// TestTrialIsRolledBackByItself: once to a server that nobody is, once to one that answers for itself but not for the VPC.
func TestTrialIsRolledBackByItself(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]string{"no such server": nobody, "black hole": lab.StandbyVPN} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, plan{config: "network: {trialTimeout: 15s}\n"})
			kubelet, provisioned := s.kubelet(), s.provisioned()
			_, err := s.CutTunnel(s.ctx, "vpn2")
			s.must(err)
			switched := s.beginSetVPN(server, "--live")
			s.onTrial(server)
			s.awaitRoute(lab.VPNServer, 90*time.Second)
			s.requireOutcome(switched(), 1, "did not switch", "rolled back", "by the end of the trial")
			s.requirePool(lab.VPNServer)
			s.requireSameNode(provisioned)
			if now := s.kubelet(); !now.Same(kubelet) {
				t.Errorf("kubelet was restarted: %+v, %+v before", now, kubelet)
			}
		})
	}
}

// TestTrialWithoutNewWayToPlane: the stream from before is no proof that the plane is reached over the new network; only root may say otherwise.
func TestTrialWithoutNewWayToPlane(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{config: "network: {trialTimeout: 10s}\n"})
	provisioned := s.provisioned()
	_, err := s.RefuseNewToPlane(s.ctx)
	s.must(err)
	s.requireOutcome(s.setVPN(lab.StandbyVPN, "--live"), 1, "rolled back", "plane has not answered on a new connection")
	s.must(s.routeVia(s.ctx, lab.VPNServer))
	s.requirePool(lab.VPNServer)

	switched := s.beginSetVPN(lab.StandbyVPN, "--live")
	s.onTrial(lab.StandbyVPN)
	s.inHost("hybrid-agent network rollback")
	s.must(s.routeVia(s.ctx, lab.VPNServer))
	s.requireOutcome(switched(), 1, "rolled back")
	s.requirePool(lab.VPNServer)

	switched = s.beginSetVPN(lab.StandbyVPN, "--live")
	s.onTrial(lab.StandbyVPN)
	s.inHost("hybrid-agent network confirm")
	s.requireOutcome(switched(), 0)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
	s.requirePool(lab.StandbyVPN)
	s.requireSameNode(provisioned)
}

// TestTrialWithPlaneGone: a trial during which the plane goes ends on the host by itself, and the plane learns of its end when it is back.
func TestTrialWithPlaneGone(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{config: "network: {trialTimeout: 10s}\n"})
	provisioned := s.provisioned()
	mend, err := s.CutTunnel(s.ctx, "vpn2")
	s.must(err)
	switched := s.beginSetVPN(lab.StandbyVPN, "--live")
	s.onTrial(lab.StandbyVPN)
	s.must(s.plane.Process.Kill())
	s.awaitRoute(lab.VPNServer, bound)
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	s.must(s.plane.Start(s.ctx))
	s.requireOutcome(switched(), 1, "rolled back", "by the end of the trial")
	s.requirePool(lab.VPNServer)
	s.must(mend(s.ctx))
	s.requireOutcome(s.setVPN(lab.StandbyVPN, "--live"), 0)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
	s.requirePool(lab.StandbyVPN)
	s.requireSameNode(provisioned)
}
