package netcfg

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// probed is what a host with one VPN server holds: the VPC route, and the server's
// probe route behind its mark.
func probed(nic netlink.Link) Desired {
	probe := ours(nic, vpc, server, nodeIP)
	probe.Table = ProbeTable
	return Desired{Routes: []Route{ours(nic, vpc, server, nodeIP), probe}, Rules: []Rule{probeRule(0)}}
}

func kernelRules(t *testing.T) []Rule {
	t.Helper()
	conn, err := dialRequest()
	must(t, err)
	defer conn.close()
	rules, err := conn.dumpRules()
	must(t, err)
	return slices.DeleteFunc(rules, func(r Rule) bool { return !r.Own() && !r.near() })
}

func kernelTable(t *testing.T, table int) []Route {
	t.Helper()
	conn, err := dialRequest()
	must(t, err)
	defer conn.close()
	var routes []Route
	must(t, conn.dumpRoutes(table, 0, func() { routes = nil }, func(r Route) { routes = append(routes, r) }))
	return routes
}

// probing starts a Keeper that holds probed().
func probing(t *testing.T, opt KeeperOptions) (*Keeper, netlink.Link, Desired) {
	t.Helper()
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	k := startKeeper(t, goIn, opt)
	want := probed(nic)
	a, err := k.Set(context.Background(), want)
	must(t, err)
	if a.Added != 3 || !slices.Equal(a.Routes, want.Routes) || !slices.Equal(a.Rules.Installed, want.Rules) {
		t.Fatalf("achieved %+v", a)
	}
	return k, nic, want
}

func TestKeeperHoldsRules(t *testing.T) {
	repairs := make(chan Repair, 8)
	k, nic, want := probing(t, KeeperOptions{OnRepair: func(r Repair) { repairs <- r }})
	if got := kernelRules(t); !slices.Equal(got, want.Rules) {
		t.Errorf("kernel has %v", got)
	}
	must(t, ipRule(want.Rules[0], netlink.RuleDel))
	if r := receive(t, "a repaired rule", repairs); r.Rule != want.Rules[0] || r.Cause != CauseRule || r.Port == 0 {
		t.Errorf("repair %+v", r)
	}
	if got := kernelRules(t); !slices.Equal(got, want.Rules) {
		t.Errorf("after the repair the kernel has %v", got)
	}
	gone := vishRoute(nic, vpc, server, int(OwnProtocol))
	gone.Table = ProbeTable
	must(t, netlink.RouteDel(gone))
	if r := receive(t, "a repaired route", repairs); r.Route != want.Routes[1] || r.Cause != CauseDeleted {
		t.Errorf("repair %+v", r)
	}
	if got := kernelTable(t, ProbeTable); !slices.Equal(got, want.Routes[1:]) {
		t.Errorf("probe table has %v", got)
	}
	if s := k.Status(); s.Repairs != 2 || !slices.Equal(s.Rules.Installed, want.Rules) || len(s.Rules.Missing)+len(s.Rules.Foreign) > 0 {
		t.Errorf("status %+v", s)
	}
}

// TestKeeperCleansRulesInOrder watches the kernel: a rule comes after its table's
// routes and goes before them.
func TestKeeperCleansRulesInOrder(t *testing.T) {
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	events, err := dialEvents(0, eventBuffer)
	must(t, err)
	defer events.close()
	k := startKeeper(t, goIn, KeeperOptions{})
	first := probed(nic)
	second := Desired{Routes: []Route{first.Routes[0], first.Routes[1]}, Rules: []Rule{probeRule(1)}}
	second.Routes[1].Table = ProbeTable + 1
	for _, d := range []Desired{first, second, {}} {
		_, err := k.Set(context.Background(), d)
		must(t, err)
	}
	if left := len(kernelRules(t)) + len(kernel(t, vpc)) + len(kernelTable(t, ProbeTable)) + len(kernelTable(t, ProbeTable+1)); left != 0 {
		t.Errorf("%d leftovers", left)
	}
	want := "24 254, 24 26624, 32 26800, " + "24 26625, 32 26801, 33 26800, 25 26624, " + "33 26801, 25 254, 25 26625"
	var seen []string
	for len(seen) < 10 {
		b, err := events.next()
		must(t, err)
		must(t, eachMessage(b, func(m message) bool {
			switch m.kind {
			case rtmNewRule, rtmDelRule:
				r, _, _ := parseRule(m.body)
				seen = append(seen, fmt.Sprint(m.kind, " ", r.Priority))
			case rtmNewRoute, rtmDelRoute:
				_, _ = parseRoute(m.body, func(r Route) { seen = append(seen, fmt.Sprint(m.kind, " ", r.Table)) })
			}
			return true
		}))
	}
	if got := strings.Join(seen, ", "); got != want {
		t.Errorf("the kernel saw %s\nwant %s", got, want)
	}
}

func TestKeeperRemovesRulesThatItNeverWanted(t *testing.T) {
	k, _, want := probing(t, KeeperOptions{})
	stray := probeRule(3)
	must(t, ipRule(stray, netlink.RuleAdd)) // as a former run would leave it
	eventually(t, "the stray rule is gone", func() bool { return slices.Equal(kernelRules(t), want.Rules) })
	if s := k.Status(); !slices.Equal(s.Rules.Installed, want.Rules) {
		t.Errorf("status %+v", s.Rules)
	}
}

func TestKeeperSparesForeignRules(t *testing.T) {
	k, _, want := probing(t, KeeperOptions{})
	beside := probeRule(0) // the same selector, made by somebody else
	beside.Protocol = 3
	elsewhere := Rule{Priority: 100, Mark: 1, Mask: 1, Table: 100, Protocol: OwnProtocol}
	for _, r := range []Rule{beside, elsewhere, {Priority: 200, Mark: 2, Mask: 2, Table: 100, Protocol: 3}} {
		must(t, ipRule(r, netlink.RuleAdd))
	}
	foreign := []Rule{elsewhere, beside}
	eventually(t, "they are known", func() bool { return slices.Equal(k.Status().Rules.Foreign, foreign) })
	_, err := k.Set(context.Background(), Desired{Routes: want.Routes[:1]})
	must(t, err)
	if got := kernelRules(t); !slices.Equal(sortRules(got), foreign) {
		t.Errorf("kernel has %v", got)
	}
}

func TestSetRefusesRulesThatItCouldNotOwn(t *testing.T) {
	t.Parallel()
	k := NewKeeper(nil, KeeperOptions{})
	change := func(f func(*Rule)) Rule { r := probeRule(0); f(&r); return r }
	for reason, rules := range map[string][]Rule{
		"not protocol 104":             {change(func(r *Rule) { r.Protocol = 3 })},
		"priority from 26800 to 26807": {change(func(r *Rule) { r.Priority = 100 })},
		"leads to no probe table":      {change(func(r *Rule) { r.Table = TableMain })},
		"a mark within its mask":       {change(func(r *Rule) { r.Mark = 0x100 })},
		"wanted twice":                 {probeRule(1), probeRule(1)},
	} {
		if _, err := k.Set(context.Background(), Desired{Rules: rules}); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// TestKeeperKnowsItsRoutesByEveryAttribute has the kernel hold what is wanted to
// the letter, and undoes what others change about it.
func TestKeeperKnowsItsRoutesByEveryAttribute(t *testing.T) {
	k, nic, want := managed(t, KeeperOptions{})
	want.MTU, want.AdvMSS = 1400, 1360
	off := ours(nic, "10.101.0.0/16", "192.168.9.1", nodeIP)
	off.OnLink, off.Metric = true, 50
	probe := off
	probe.Table, probe.MTU = ProbeTable+2, 1300
	if a := setAll(t, k, want, off, probe); a.Replaced != 1 || a.Added != 2 || !slices.Equal(a.Routes, []Route{want, off, probe}) {
		t.Fatalf("achieved %+v", a)
	}
	if a := setAll(t, k, want, off, probe); a.Added+a.Replaced+a.Deleted != 0 {
		t.Errorf("second Set: %+v", a)
	}
	locked := vishRoute(nic, vpc, server, int(OwnProtocol))
	locked.Src, locked.MTU, locked.MTULock, locked.AdvMSS = want.Source.AsSlice(), 1400, true, 1360
	for what, change := range map[string]func(*netlink.Route){
		"a locked MTU":       func(*netlink.Route) {},
		"another MTU":        func(r *netlink.Route) { r.MTULock, r.MTU = false, 1280 },
		"no MTU":             func(r *netlink.Route) { r.MTULock, r.MTU = false, 0 },
		"another MSS":        func(r *netlink.Route) { r.MTULock, r.AdvMSS = false, 1000 },
		"a window":           func(r *netlink.Route) { r.MTULock, r.Window = false, 20000 },
		"a realm":            func(r *netlink.Route) { r.MTULock, r.Realm = false, 3 },
		"no source":          func(r *netlink.Route) { r.MTULock, r.Src = false, nil },
		"a neighbour onlink": func(r *netlink.Route) { r.MTULock, r.Flags = false, int(netlink.FLAG_ONLINK) },
	} {
		r := *locked
		change(&r)
		repairs := k.Status().Repairs
		must(t, netlink.RouteReplace(&r))
		eventually(t, "repaired after "+what, func() bool { return k.Status().Repairs > repairs })
		if got := kernel(t, vpc); !slices.Equal(got, []Route{want}) {
			t.Errorf("after %s the kernel has %v", what, got)
		}
	}
}

// TestKeeperSparesWhatNoRecordTellsOf: somebody else may use our protocol number.
func TestKeeperSparesWhatNoRecordTellsOf(t *testing.T) {
	k, nic, want := managed(t, KeeperOptions{})
	other := ours(nic, "10.111.0.0/16", server, nodeIP)
	inProbe := other
	inProbe.Table = ProbeTable + 5
	writer, err := dialRequest()
	must(t, err)
	defer writer.close()
	for _, err := range writer.writeRoutes(rtmNewRoute, flagCreate, []Route{other, inProbe}) {
		must(t, err)
	}
	unrecorded := []Route{other, inProbe}
	own, err := OwnRoutes()
	if err != nil || !slices.Equal(own, []Route{want, other, inProbe}) {
		t.Errorf("own routes %v, %v", own, err)
	}
	eventually(t, "they are reported", func() bool { return slices.Equal(k.Status().Unrecorded, unrecorded) })
	next := want
	next.Gateway = netip.MustParseAddr("10.200.0.3")
	for _, d := range []Desired{{Routes: []Route{next}}, {}} {
		a, err := k.Set(context.Background(), d)
		must(t, err)
		if !slices.Equal(a.Unrecorded, unrecorded) || !slices.Equal(a.Routes, d.Routes) {
			t.Errorf("achieved %+v", a)
		}
	}
	if got := append(kernel(t, "10.111.0.0/16"), kernelTable(t, ProbeTable+5)...); !slices.Equal(got, unrecorded) {
		t.Errorf("kernel has %v", got)
	}
	// The record of a former run makes them ours: they go.
	a, err := k.Set(context.Background(), Desired{Former: []RouteID{other.ID(), inProbe.ID()}})
	must(t, err)
	if a.Deleted != 2 || len(a.Unrecorded)+len(a.Routes) != 0 {
		t.Errorf("with a record: %+v", a)
	}
	if left := len(kernel(t, "10.111.0.0/16")) + len(kernelTable(t, ProbeTable+5)); left != 0 {
		t.Errorf("%d are still there", left)
	}
}
