package agent

import (
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

func serverOf(s *localv1.Status, address string) *localv1.VPNServer {
	for _, v := range s.GetNetwork().GetVpnServers() {
		if v.GetAddress() == address {
			return v
		}
	}
	return nil
}

// mainRoutes are ours in the main table.
func mainRoutes(t *testing.T) string {
	t.Helper()
	var ours []string
	ours = append(ours, routes(t)...)
	return strings.Join(ours, "\n")
}

// TestStandbyTakesOver: the first VPN server dies, the second takes over within ten
// seconds; both die, and the first to come back is taken.
func TestStandbyTakesOver(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m, inside := settledBehind(t, "10.200.0.2", "10.200.0.4")
	m.await("both servers probed", func(s *localv1.Status) bool {
		return serverOf(s, "10.200.0.2").GetOk() && serverOf(s, "10.200.0.4").GetOk()
	})
	if rules := m.status().GetNetwork().GetRules(); len(rules) != 2 {
		t.Errorf("rules %v", rules)
	}
	kill := func(address string) {
		t.Helper()
		inside(serverUp(address+"/24", false))
		// Both servers are one machine: only who asks anew learns that one is gone.
		lan := must(netlink.LinkByName("lan0"))(t).Attrs()
		ok(t, netlink.NeighDel(&netlink.Neigh{LinkIndex: lan.Index, IP: net.ParseIP(address)}))
	}
	kill("10.200.0.2")
	m.await("route through the standby", func(s *localv1.Status) bool { return s.GetNetwork().GetVpnServer() == "10.200.0.4" })
	if got := mainRoutes(t); got != viaOther {
		t.Errorf("routes %s", got)
	}
	m.await("path through the standby", func(s *localv1.Status) bool {
		c := conditionOf(s, ConditionPathHealthy)
		return c.GetStatus() == agentv1.ConditionStatus_CONDITION_STATUS_TRUE && strings.Contains(c.GetMessage(), "10.200.0.2 is down")
	})
	kill("10.200.0.4")
	m.await("both down", func(s *localv1.Status) bool { return !serverOf(s, "10.200.0.4").GetOk() })
	inside(serverUp("10.200.0.2/24", true))
	m.await("the first to come back", func(s *localv1.Status) bool { return s.GetNetwork().GetVpnServer() == "10.200.0.2" })

	// Another server only: what served the probes is taken away.
	inside(serverUp("10.200.0.4/24", true))
	plane.Assign(2, through("10.200.0.4"))
	plane.Await("ACK", answered(2))
	m.await("no rules", func(s *localv1.Status) bool { return len(s.GetNetwork().GetRules()) == 0 })
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	ok(t, err)
	if len(rules) != 3 { // local, main, default
		t.Errorf("rules left: %v", rules)
	}
}
