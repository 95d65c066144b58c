package netcfg

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
)

// others are routes of somebody else's in 10.150.0.0/16 and after.
func others(nic netlink.Link, n int) []Route {
	var list []Route
	for i := range n {
		r := ours(nic, fmt.Sprintf("10.%d.%d.0/24", 150+i/250, i%250), server, nodeIP)
		r.Protocol = 3
		list = append(list, r)
	}
	return list
}

func writeAll(t *testing.T, conn *requestConn, kind uint16, routes []Route) {
	t.Helper()
	flags := uint16(0)
	if kind == rtmNewRoute {
		flags = flagCreate
	}
	for _, err := range conn.writeRoutes(kind, flags, routes) {
		must(t, err)
	}
}

func dialWriter(t *testing.T) *requestConn {
	t.Helper()
	conn, err := dialRequest()
	must(t, err)
	t.Cleanup(conn.close)
	return conn
}

// ownCount counts the routes of ours in the main table.
func ownCount(t *testing.T) int {
	t.Helper()
	routes, err := readRoutes()
	must(t, err)
	return len(slices.DeleteFunc(routes, func(r Route) bool { return !r.Own() }))
}

// TestKeeperResyncsAfterOverruns shrinks the event buffer and holds the reader back
// while routes and rules change, so that the kernel drops what it would have said.
func TestKeeperResyncsAfterOverruns(t *testing.T) {
	k, nic, want := probing(t, KeeperOptions{eventBuffer: 4 << 10})
	churn := dialWriter(t)
	noise := others(nic, 100)
	for range 5 {
		before := k.Status().Overruns
		// Nobody reads events while mu is held.
		k.mu.Lock()
		for range 5 {
			writeAll(t, churn, rtmNewRoute, noise)
			writeAll(t, churn, rtmDelRoute, noise)
		}
		writeAll(t, churn, rtmDelRoute, want.Routes)
		must(t, churn.writeRules(rtmDelRule, 0, want.Rules)[0])
		must(t, churn.writeRules(rtmNewRule, flagCreate, []Rule{probeRule(4)})[0])
		k.mu.Unlock()
		eventually(t, "the loss is noticed", func() bool { return k.Status().Overruns > before })
		eventually(t, "routes and rules are back", func() bool {
			return slices.Equal(kernel(t, vpc), want.Routes[:1]) && slices.Equal(kernelTable(t, ProbeTable), want.Routes[1:]) &&
				slices.Equal(kernelRules(t), want.Rules)
		})
	}
	if n := k.Status().Overruns; n < 5 {
		t.Errorf("%d overruns in 5 rounds", n)
	}
}

// TestKeeperInAStorm: 1,000 random deletions and foreign inserts, from two sides,
// while somebody else's routes come and go.
func TestKeeperInAStorm(t *testing.T) {
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	k := startKeeper(t, goIn, KeeperOptions{})
	var want []Route
	for i := range 64 {
		want = append(want, ours(nic, fmt.Sprintf("10.%d.0.0/16", 16+i), server, nodeIP))
	}
	setAll(t, k, want...)
	deleter, inserter, churn := dialWriter(t), dialWriter(t), dialWriter(t)
	noise := others(nic, 200)
	var foreign sync.Map
	var storm sync.WaitGroup
	storm.Go(func() {
		random := rand.New(rand.NewPCG(1, 2))
		for range 1000 {
			_ = deleter.writeRoute(rtmDelRoute, 0, want[random.IntN(len(want))]) // gone already, at times
		}
	})
	storm.Go(func() {
		random := rand.New(rand.NewPCG(3, 4))
		for range 1000 {
			r := want[random.IntN(len(want))]
			r.Protocol, r.Metric, r.Gateway = 3, 1+random.Uint32N(50), netip.MustParseAddr("10.200.0.9")
			if inserter.writeRoute(rtmNewRoute, flagCreate|flagExcl, r) == nil {
				foreign.Store(r, true)
			}
		}
	})
	storm.Go(func() {
		for range 10 {
			writeAll(t, churn, rtmNewRoute, noise)
			writeAll(t, churn, rtmDelRoute, noise)
		}
	})
	storm.Wait()
	eventually(t, "every route is back", func() bool { return ownCount(t) == len(want) })
	var theirs []Route
	foreign.Range(func(r, _ any) bool { theirs = append(theirs, r.(Route)); return true })
	sortRoutes(theirs)
	eventually(t, "every foreign route is known", func() bool { return slices.Equal(k.Status().Foreign, theirs) })
	for _, r := range want {
		if !holds(t, r)() {
			t.Errorf("%s is not as wanted", r)
		}
	}
	if s := k.Status(); len(s.Missing) > 0 || s.Repairs == 0 {
		t.Errorf("missing %v after %d repairs", s.Missing, s.Repairs)
	}
}

// TestKeeperInAFlapStorm takes the link down and up faster than anybody would.
func TestKeeperInAFlapStorm(t *testing.T) {
	k, nic, want := probing(t, KeeperOptions{})
	for range 100 {
		must(t, netlink.LinkSetDown(nic))
		must(t, netlink.LinkSetUp(nic))
	}
	eventually(t, "all is back", func() bool {
		return slices.Equal(kernel(t, vpc), want.Routes[:1]) && slices.Equal(kernelTable(t, ProbeTable), want.Routes[1:]) &&
			slices.Equal(kernelRules(t), want.Rules)
	})
	eventually(t, "nothing is missing", func() bool { return len(k.Status().Missing) == 0 })
}

// TestKeeperInNetlinkNoise: 10,000 routes of somebody else's come and go. The
// pipeline is hardly woken, and a repair among them is as quick as ever.
func TestKeeperInNetlinkNoise(t *testing.T) {
	k, nic, want := managed(t, KeeperOptions{})
	churn, deleter := dialWriter(t), dialWriter(t)
	noise := others(nic, 10000)
	wakes, quit, counted := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(counted)
		for {
			select {
			case <-k.Changes():
				wakes++
			case <-quit:
				return
			}
		}
	}()
	for _, kind := range []uint16{rtmNewRoute, rtmDelRoute} {
		writeAll(t, churn, kind, noise[:5000])
		must(t, deleter.writeRoute(rtmDelRoute, 0, want))
		writeAll(t, churn, kind, noise[5000:])
		eventually(t, "the route is back", holds(t, want))
	}
	eventually(t, "both repairs are counted", func() bool { return k.Status().Repairs == 2 })
	close(quit)
	<-counted
	if wakes > 20 { // a fiftieth would be 400
		t.Errorf("20,000 foreign events woke the pipeline %d times", wakes)
	}
	// A repair and a resync may meet; the loser finds the route there, and looks again.
	eventually(t, "nothing is foreign or missing", func() bool { s := k.Status(); return len(s.Foreign)+len(s.Missing) == 0 })
}

// TestKeeperWithANICThatReturnsUnderANewName has a pipeline above that plans anew
// whenever it is woken.
func TestKeeperWithANICThatReturnsUnderANewName(t *testing.T) {
	goIn := enterNetns(t)
	old := addNIC(t, "lan0", nodeIP+"/24")
	k := startKeeper(t, goIn, KeeperOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	goIn(func() {
		defer close(ended)
		for {
			if inv, err := ReadInventory(ctx); err == nil {
				_, _ = k.Set(ctx, planFor(inv))
			}
			select {
			case <-ctx.Done():
				return
			case <-k.Changes():
			}
		}
	})
	defer func() { cancel(); <-ended }()
	eventually(t, "the route is there", holds(t, ours(old, vpc, server, nodeIP)))
	must(t, netlink.LinkDel(old))
	eventually(t, "nothing is wanted", func() bool { s := k.Status(); return len(s.Installed)+len(s.Missing) == 0 })
	renewed := addNIC(t, "enp7s0", nodeIP+"/24")
	want := probed(renewed)
	eventually(t, "all is there on the new NIC", func() bool {
		return slices.Equal(kernel(t, vpc), want.Routes[:1]) && slices.Equal(kernelTable(t, ProbeTable), want.Routes[1:]) &&
			slices.Equal(kernelRules(t), want.Rules)
	})
}

// planFor wants what probed does on whichever link has the node IP.
func planFor(inv Inventory) Desired {
	for _, l := range inv.Links {
		if l.Up && l.HasAddr(netip.MustParseAddr(nodeIP)) {
			return probed(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}})
		}
	}
	return Desired{}
}
