//go:build demo

package e2e

import (
	"testing"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

const stateFolder = "/var/lib/hybrid-agent"

// TestDiskFullDuringTrial: what cannot be written down does not come into force; with room, it can be done.
func TestDiskFullDuringTrial(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{config: "network: {trialTimeout: 20s}\n"})
	kubelet, provisioned := s.kubelet(), s.provisioned()
	s.ownDisk()
	mend, err := s.CutTunnel(s.ctx, "vpn2")
	s.must(err)
	switched := s.beginSetVPN(lab.StandbyVPN, "--live")
	s.onTrial(lab.StandbyVPN)
	s.fillDisk()
	s.must(mend(s.ctx)) // now the new way is fine, and cannot be kept
	s.awaitRoute(lab.VPNServer, bound)
	s.requireOutcome(switched(), 1, "cannot be kept", "make room")
	s.repairsGoOn()

	s.requireOutcome(s.setVPN(lab.StandbyVPN, "--live"), 1, "make room")
	s.must(s.routeVia(s.ctx, lab.VPNServer))
	s.requirePool(lab.VPNServer)
	s.repairsGoOn()
	s.inHost("rm " + stateFolder + "/filler")
	s.requireOutcome(s.setVPN(lab.StandbyVPN, "--live"), 0)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
	s.requirePool(lab.StandbyVPN)
	s.requireSameNode(provisioned)
	if now := s.kubelet(); !now.Same(kubelet) {
		t.Errorf("kubelet was restarted: %+v, %+v before", now, kubelet)
	}
}

// TestReadOnlyStateDuringTrial: as above, with a disk that turns read-only; the daemon is restarted on it as well.
func TestReadOnlyStateDuringTrial(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{config: "network: {trialTimeout: 10s}\n"})
	provisioned := s.provisioned()
	switched := s.beginSetVPN(nobody, "--live")
	s.onTrial(nobody)
	s.inHost("mount --bind " + stateFolder + " " + stateFolder + " && mount -o remount,bind,ro " + stateFolder)
	s.awaitRoute(lab.VPNServer, bound)
	s.requireOutcome(switched(), 1, "rolled back")
	s.requireOutcome(s.setVPN(lab.StandbyVPN, "--live"), 1, "read-only")
	s.must(s.routeVia(s.ctx, lab.VPNServer))
	s.requirePool(lab.VPNServer)
	s.repairsGoOn()

	s.inHost("umount " + stateFolder)
	s.must(s.edge().Agent.Stop(10 * time.Second))
	s.must(s.edge().StartAgent())
	s.awaitRoute(lab.VPNServer, bound)
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	s.awaitCondition("Registered", "TRUE", "Connected", bound)
	s.requireOutcome(s.setVPN(lab.StandbyVPN, "--live"), 0)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
	s.requirePool(lab.StandbyVPN)
	s.requireSameNode(provisioned)
}

// ownDisk gives the first host's daemon a small disk of its own, with what it had written.
func (s *site) ownDisk() {
	s.t.Helper()
	s.must(s.edge().Agent.Stop(10 * time.Second))
	s.inHost("cd /var/lib && cp -a hybrid-agent hybrid-agent.old && mount -t tmpfs -o size=512k,mode=0700 tmpfs hybrid-agent && " +
		"cp -a hybrid-agent.old/. hybrid-agent/")
	s.must(s.edge().StartAgent())
	s.awaitCondition("Registered", "TRUE", "Connected", bound)
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
}

// fillDisk leaves no byte on it.
func (s *site) fillDisk() {
	s.t.Helper()
	s.inHost("dd if=/dev/zero of=" + stateFolder + "/filler bs=512 2>/dev/null; test \"$(stat -f -c %f " + stateFolder + ")\" = 0")
}

// repairsGoOn deletes the route and waits for its return.
func (s *site) repairsGoOn() {
	s.t.Helper()
	monitor, err := s.edge().Host.MonitorRoute(vpc)
	s.must(err)
	defer monitor.Close()
	_, err = s.edge().Host.DeleteRoute(vpc)
	s.must(err)
	_, err = monitor.Repaired(s.ctx)
	s.must(err)
	s.awaitRoute(lab.VPNServer, 5*time.Second)
	s.awaitStatus("the repaired route", 5*time.Second, func(status actors.Status) error { return status.Holds("RoutesInstalled") })
}
