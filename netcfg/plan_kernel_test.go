package netcfg

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

// wayOf asks the kernel by which next hop, source and table a packet with that mark
// would leave.
func wayOf(t *testing.T, dst string, mark uint32) string {
	t.Helper()
	routes, err := netlink.RouteGetWithOptions(net.ParseIP(dst), &netlink.RouteGetOptions{Mark: mark})
	must(t, err)
	return fmt.Sprintf("via %s src %s table %#x mtu %d advmss %d", routes[0].Gw, routes[0].Src, routes[0].Table, routes[0].MTU, routes[0].AdvMSS)
}

// TestPlanInTheKernel puts plans into a real kernel: it takes all of them, marked
// probes go through their own server each, and the main table follows the active
// one. The servers are neighbours by subnet, by a route of link scope, and by the
// operator's word.
func TestPlanInTheKernel(t *testing.T) {
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	must(t, netlink.RouteAdd(&netlink.Route{
		LinkIndex: nic.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4(10, 55, 0, 1).To4(), Mask: net.CIDRMask(32, 32)}, Scope: netlink.SCOPE_LINK,
	}))
	k := startKeeper(t, goIn, KeeperOptions{})
	inv, err := ReadInventory(context.Background())
	must(t, err)
	link, _ := inv.LinkByName("lan0")
	sel := Selection{Link: link, NodeIP: link.Addrs[0].Addr(), Prefix: link.Addrs[0]}
	intent := RouteIntent{
		VPCCIDRs: prefixes(vpc, "10.101.0.0/16"), VPNServers: addresses("10.200.0.2", "10.55.0.1", "10.9.9.9"),
		Metric: 50, OnLink: true,
	}
	set := func(active string, mtu uint32) Plan {
		t.Helper()
		intent.Active, intent.MTU = addresses(active)[0], mtu
		plan, err := PlanRoutes(inv, sel, intent)
		must(t, err)
		a, err := k.Set(context.Background(), Desired{Routes: plan.Routes, Rules: plan.Rules})
		must(t, err)
		if len(a.Missing)+len(a.Rules.Missing) > 0 || len(a.Routes) != 8 || len(a.Rules.Installed) != 3 {
			t.Fatalf("achieved %+v", a)
		}
		return plan
	}
	for active, mtu := range map[string]uint32{"10.200.0.2": 0, "10.55.0.1": 1400, "10.9.9.9": 576} {
		plan := set(active, mtu)
		mss := max(int(mtu), 40) - 40
		for _, s := range plan.Servers {
			want := fmt.Sprintf("via %s src %s table %#x mtu %d advmss %d", s.Server, nodeIP, ProbeTable+int(s.Mark)-ProbeMark, mtu, mss)
			for _, dst := range []string{"10.100.0.1", "10.101.255.1"} {
				// Bits outside the mask belong to others.
				for _, mark := range []uint32{s.Mark, s.Mark | 0xcafe00} {
					if got := wayOf(t, dst, mark); got != want {
						t.Errorf("active %s, mark %#x to %s: %s, want %s", active, mark, dst, got, want)
					}
				}
			}
		}
		want := fmt.Sprintf("via %s src %s table 0xfe mtu %d advmss %d", active, nodeIP, mtu, mss)
		if got := wayOf(t, "10.100.0.1", 0); got != want {
			t.Errorf("active %s: %s, want %s", active, got, want)
		}
	}
	// The plan is all there is: the kernel's own reading of it changes nothing.
	after, err := ReadInventory(context.Background())
	must(t, err)
	again, err := PlanRoutes(after, sel, intent)
	must(t, err)
	first, err := PlanRoutes(inv, sel, intent)
	must(t, err)
	if !slices.Equal(again.Routes, first.Routes) || !slices.Equal(again.Rules, first.Rules) {
		t.Errorf("planned on its own result:\n%s\nbefore:\n%s", planText(again), planText(first))
	}
}
