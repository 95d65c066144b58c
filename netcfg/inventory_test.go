package netcfg

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestReadInventory(t *testing.T) {
	goIn := enterNetns(t)
	lan := addNIC(t, "lan0", "10.200.0.11/24", "10.200.0.12/24")
	addNIC(t, "office0", "192.168.77.11/24")
	must(t, netlink.LinkAddAltName(lan, "enp1s0"))
	la := netlink.NewLinkAttrs()
	la.Name = "docker0"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: la}))
	bridge, err := netlink.LinkByName("docker0")
	must(t, err)
	must(t, netlink.LinkSetUp(bridge))
	port, err := netlink.LinkByName("p-office0")
	must(t, err)
	must(t, netlink.LinkSetMaster(port, bridge))
	for _, metric := range []int{200, 100} {
		r := vishRoute(lan, "0.0.0.0/0", "10.200.0.1", 3)
		r.Priority = metric
		must(t, netlink.RouteAdd(r))
	}

	var inv Inventory
	nobody(t, goIn, func() { inv, err = ReadInventory(context.Background()) }) // reading needs no rights
	must(t, err)

	l, ok := inv.LinkByName("enp1s0")
	if !ok || l.Name != "lan0" || l.Kind != "veth" || !l.Up || !l.Carrier || l.MTU != 1500 || len(l.MAC) != 17 || l.ParentIndex == 0 {
		t.Errorf("lan0 is %+v", l)
	}
	if want := prefixes("10.200.0.11/24", "10.200.0.12/24"); !slices.Equal(l.Addrs, want) {
		t.Errorf("addresses %v", l.Addrs)
	}
	if l.DefaultRouteMetric == nil || *l.DefaultRouteMetric != 100 {
		t.Errorf("metric %v", l.DefaultRouteMetric)
	}
	if lo, _ := inv.LinkByName("lo"); !lo.Loopback || lo.DefaultRouteMetric != nil {
		t.Errorf("lo is %+v", lo)
	}
	b, _ := inv.LinkByName("docker0")
	if p, _ := inv.LinkByName("p-office0"); b.Kind != "bridge" || p.MasterIndex != b.Index {
		t.Errorf("bridge %+v, port %+v", b, p)
	}
	if r, ok := inv.RouteTo(netip.MustParseAddr("8.8.8.8")); !ok || r.Metric != 100 || r.LinkIndex != l.Index || !r.IsDefault() {
		t.Errorf("route to the internet: %v", r)
	}
	if r, ok := inv.RouteTo(netip.MustParseAddr("10.200.0.2")); !ok || r.Scope != ScopeLink || r.Protocol != ProtoKernel {
		t.Errorf("route to the LAN: %v", r)
	}
}

func TestReadInventoryOfAnEmptyNamespace(t *testing.T) {
	goIn := enterNetns(t)
	done := make(chan struct{})
	var inv Inventory
	var err error
	goIn(func() { inv, err = ReadInventory(context.Background()); close(done) })
	<-done
	if err != nil || len(inv.Links) == 0 || len(inv.Routes) != 0 {
		t.Errorf("%+v, %v", inv, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ReadInventory(ctx); err == nil {
		t.Error("a cancelled read succeeded")
	}
}

// TestSelectAndPlanFromTheKernel goes the whole way in a namespace like a demo
// host's.
func TestSelectAndPlanFromTheKernel(t *testing.T) {
	goIn := enterNetns(t)
	lan := addNIC(t, "lan0", nodeIP+"/24")
	office := addNIC(t, "office0", "192.168.77.11/24")
	must(t, netlink.RouteAdd(vishRoute(office, "0.0.0.0/0", "192.168.77.1", 3)))
	inv, err := ReadInventory(context.Background())
	must(t, err)
	sel, _, err := SelectNIC(inv, SelectionInput{
		Selector: Selector{Auto: true}, VPNServers: addresses(server), RemoteNodeCIDRs: prefixes("10.200.0.0/16"),
	})
	must(t, err)
	plan, err := PlanRoutes(inv, sel, RouteIntent{VPCCIDRs: prefixes(vpc), VPNServers: addresses(server)})
	must(t, err)
	if want := []Route{ours(lan, vpc, server, nodeIP)}; !slices.Equal(plan.Routes, want) {
		t.Fatalf("planned %v", plan.Routes)
	}
	k := startKeeper(t, goIn, KeeperOptions{})
	setAll(t, k, plan.Routes...)
	if !holds(t, plan.Routes[0])() {
		t.Error("not installed")
	}
}
