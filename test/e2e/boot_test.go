//go:build demo

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hybridagent/test/lab"
)

// TestBootWithoutPlane: the last confirmed network is in force as soon as the NIC can be used, be it late.
func TestBootWithoutPlane(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{})
	kubelet, provisioned := s.kubelet(), s.provisioned()
	s.must(s.plane.Process.Stop(10 * time.Second))
	s.must(s.edge().Host.PowerCut(s.ctx))
	s.reboot(kubelet)
	s.awaitRoute(lab.VPNServer, 5*time.Second)
	s.awaitCondition("RoutesInstalled", "TRUE", "", 5*time.Second) // and not on trial
	s.awaitCondition("Registered", "TRUE", "Disconnected", bound)

	s.must(s.edge().Host.PowerCut(s.ctx))
	late := func(line string) bool { return strings.Contains(line, "dev lan0") }
	s.must(s.edge().Host.IP(s.ctx, slices.DeleteFunc(lab.EdgeNetwork(1), late)...))
	s.must(s.edge().Boot())
	s.passes(10 * time.Second)
	if route, err := s.route(s.ctx); err != nil || route != "" {
		t.Fatalf("the kernel has %q before the NIC has an address: %v", route, err)
	}
	s.awaitCondition("NICSelected", "FALSE", "", bound)
	monitor, err := s.edge().Host.MonitorRoute(vpc)
	s.must(err)
	defer monitor.Close()
	addressed := time.Now()
	s.must(s.edge().Host.IP(s.ctx, "address add "+lab.LANAddress(1)+"/24 dev lan0"))
	added, err := monitor.Added(s.ctx)
	s.must(err)
	t.Logf("the route came %s after the address was asked for", added.Sub(addressed).Round(time.Millisecond))
	s.awaitRoute(lab.VPNServer, 5*time.Second)
	s.awaitCondition("RoutesInstalled", "TRUE", "", 5*time.Second)
	s.must(s.edge().Host.IP(s.ctx, "route add default via 10.200.0.1 dev lan0 metric 200"))
	_, err = s.edge().StartKubelet(kubelet)
	s.must(err)
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	s.must(s.plane.Start(s.ctx))
	s.requireSameNode(provisioned)
}

// TestNICReturnsUnderNewName: a NIC that went is found again by its hardware address, however the pool names it.
func TestNICReturnsUnderNewName(t *testing.T) {
	t.Parallel()
	for name, nic := range map[string]string{"auto": "auto", "by address": lab.LANMAC(1), "by name": "lan0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, plan{nic: nic})
			kubelet, provisioned := s.kubelet(), s.provisioned()
			host := s.edge().Host
			s.must(s.RemoveNIC(s.ctx, host.Name, "lan"))
			gone := s.awaitCondition("NICSelected", "FALSE", "", bound)
			t.Logf("while it is gone: %s: %s", gone.Reason, gone.Message)
			s.must(s.InsertNIC(s.ctx, host.Name, "lan", "enp7s0", lab.LANMAC(1)))
			s.must(host.IP(s.ctx, "link set enp7s0 up", "address add "+lab.LANAddress(1)+"/24 dev enp7s0",
				"route add default via 10.200.0.1 dev enp7s0 metric 200"))
			s.awaitRoute(lab.VPNServer, bound)
			if route, err := s.route(s.ctx); err != nil || !strings.Contains(route, " dev enp7s0 ") {
				t.Errorf("the kernel has %q: %v", route, err)
			}
			s.awaitCondition("PathHealthy", "TRUE", "", bound)
			s.requireSameNode(provisioned)
			if now := s.kubelet(); !now.Same(kubelet) {
				t.Errorf("kubelet was restarted: %+v, %+v before", now, kubelet)
			}
		})
	}
}
