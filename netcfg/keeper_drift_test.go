package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// Every test here runs with the periodic resync off: events alone must do.

const (
	vpc    = "10.100.0.0/16"
	server = "10.200.0.2"
	nodeIP = "10.200.0.11"
)

// managed starts a Keeper that holds the VPC route on a NIC of its own.
func managed(t *testing.T, opt KeeperOptions) (*Keeper, netlink.Link, Route) {
	t.Helper()
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	k := startKeeper(t, goIn, opt)
	want := ours(nic, vpc, server, nodeIP)
	setAll(t, k, want)
	return k, nic, want
}

func holds(t *testing.T, want Route) func() bool {
	t.Helper()
	return func() bool { return slices.Contains(kernel(t, want.Dst.String()), want) }
}

func TestKeeperRestoresAfterLinkDown(t *testing.T) {
	k, nic, want := managed(t, KeeperOptions{})
	must(t, netlink.LinkSetDown(nic)) // flushes the route without an event for it
	eventually(t, "the missing route is known", func() bool { return len(k.Status().Missing) == 1 })
	if err := k.Status().Missing[0].Err; !strings.Contains(err.Error(), "its link is down") || !strings.Contains(err.Error(), "installed when that returns") {
		t.Errorf("reason %v", err)
	}
	must(t, netlink.LinkSetUp(nic))
	eventually(t, "the route is back", holds(t, want))
	eventually(t, "nothing is missing", func() bool { return len(k.Status().Missing) == 0 })
	if cause := k.Status().LastRepair.Cause; cause != CauseFlushed {
		t.Errorf("cause %q", cause)
	}
}

func TestKeeperRestoresAfterAddressChange(t *testing.T) {
	k, nic, want := managed(t, KeeperOptions{})
	addr, err := netlink.ParseAddr(nodeIP + "/24")
	must(t, err)
	must(t, netlink.AddrDel(nic, addr)) // the route goes with its source, silently
	eventually(t, "the missing route is known", func() bool { return len(k.Status().Missing) == 1 })
	must(t, netlink.AddrAdd(nic, addr))
	eventually(t, "the route is back", holds(t, want))
	// An address that leaves and returns within one check is noticed as well.
	must(t, netlink.AddrDel(nic, addr))
	must(t, netlink.AddrAdd(nic, addr))
	eventually(t, "the route is back again", holds(t, want))
}

func TestKeeperUndoesOwnProtocolReplace(t *testing.T) {
	_, nic, want := managed(t, KeeperOptions{})
	must(t, netlink.RouteReplace(vishRoute(nic, vpc, "10.200.0.9", int(OwnProtocol))))
	eventually(t, "the route is as wanted", func() bool { return slices.Equal(kernel(t, vpc), []Route{want}) })
}

func TestKeeperSparesForeignRoutes(t *testing.T) {
	foreign := make(chan []Route, 16)
	k, nic, want := managed(t, KeeperOptions{OnForeign: func(r []Route) { foreign <- r }})
	weaker := vishRoute(nic, vpc, "10.200.0.9", 3)
	weaker.Priority = 100
	must(t, netlink.RouteAdd(weaker))
	if got := <-foreign; len(got) != 1 || got[0].Metric != 100 {
		t.Errorf("foreign %v", got)
	}
	// Replaced by somebody else: ours is gone without an event, theirs stays.
	must(t, netlink.RouteReplace(vishRoute(nic, vpc, "10.200.0.9", 3)))
	eventually(t, "the conflict is known", func() bool {
		s := k.Status()
		return len(s.Missing) == 1 && errors.Is(s.Missing[0].Err, syscall.EEXIST) && len(s.Foreign) == 2
	})
	if text := k.Status().Missing[0].Err.Error(); !strings.Contains(text, "via 10.200.0.9") || !strings.Contains(text, "remove that one") {
		t.Errorf("reason %q", text)
	}
	a, err := k.Set(context.Background(), Desired{Routes: []Route{want}})
	if !errors.Is(err, syscall.EEXIST) || len(a.Missing) != 1 || len(a.Foreign) != 2 {
		t.Errorf("Set: %+v, %v", a, err)
	}
	if got := kernel(t, vpc); len(got) != 2 || slices.ContainsFunc(got, Route.Own) {
		t.Fatalf("kernel has %v", got)
	}
	must(t, netlink.RouteDel(vishRoute(nic, vpc, "10.200.0.9", 3)))
	eventually(t, "ours returns when theirs goes", holds(t, want))
	setAll(t, k)
	if got := kernel(t, vpc); len(got) != 1 || got[0].Protocol != 3 {
		t.Errorf("after release the kernel has %v", got)
	}
}

func TestKeeperRestoresManyAtOnce(t *testing.T) {
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	k := startKeeper(t, goIn, KeeperOptions{})
	var want []Route
	for i := range 500 {
		want = append(want, ours(nic, fmt.Sprintf("10.%d.%d.0/24", 100+i/250, i%250), server, nodeIP))
	}
	if a := setAll(t, k, want...); a.Added != len(want) || len(a.Routes) != len(want) {
		t.Fatalf("added %d, installed %d", a.Added, len(a.Routes))
	}
	for _, r := range want {
		must(t, netlink.RouteDel(vishRoute(nic, r.Dst.String(), server, int(OwnProtocol))))
	}
	eventually(t, "all routes are back", func() bool {
		have, err := readRoutes()
		must(t, err)
		n := 0
		for _, r := range have {
			if r.Own() {
				n++
			}
		}
		return n == len(want)
	})
	if s := k.Status(); len(s.Damped) > 0 {
		t.Errorf("damped %v", s.Damped)
	}
}

func TestKeeperDampsFight(t *testing.T) {
	k, nic, want := managed(t, KeeperOptions{})
	// The opponent deletes the route as soon as it is back, until it is damped.
	for range dampFree + 1 {
		eventually(t, "the route is there to be deleted", holds(t, want))
		must(t, netlink.RouteDel(vishRoute(nic, vpc, server, int(OwnProtocol))))
	}
	eventually(t, "the fight is named", func() bool { return slices.Equal(k.Status().Damped, []Route{want}) })
	eventually(t, "the route returns after the delay", holds(t, want))
}

func TestKeeperResyncs(t *testing.T) {
	k, _, want := managed(t, KeeperOptions{ResyncInterval: 20 * time.Millisecond})
	// A delete through the Keeper's own socket is an echo, which it ignores. Late
	// events of the NIC's making may find it first: then it goes once more.
	eventually(t, "resync finds it", func() bool {
		last := k.Status().LastRepair
		if last != nil && last.Cause == CauseResync {
			return true
		}
		k.mu.Lock()
		err := k.req.writeRoute(rtmDelRoute, 0, want)
		k.mu.Unlock()
		if !errors.Is(err, syscall.ESRCH) {
			must(t, err)
		}
		return false
	})
	eventually(t, "the route is back", holds(t, want))
}

func TestKeeperWakesThePipeline(t *testing.T) {
	k, nic, _ := managed(t, KeeperOptions{})
	drain := func() {
		select {
		case <-k.Changes():
		default:
		}
	}
	changes := map[string]func(){
		"address":       func() { addAddr(t, nic, "10.200.0.12/24") },
		"default route": func() { must(t, netlink.RouteAdd(vishRoute(nic, "0.0.0.0/0", "10.200.0.1", 3))) },
		"link":          func() { addNIC(t, "lan1") },
	}
	for what, change := range changes {
		drain()
		change()
		select {
		case <-k.Changes():
		case <-time.After(5 * time.Second):
			t.Errorf("no wake-up for a changed %s", what)
		}
	}
}

func TestKeeperReplacesWithoutGap(t *testing.T) {
	k, nic, want := managed(t, KeeperOptions{})
	events, err := dialEvents(0, eventBuffer)
	must(t, err)
	defer events.close()
	next := want
	next.Gateway = netip.MustParseAddr("10.200.0.3")
	other := ours(nic, "10.101.0.0/16", server, nodeIP)
	if a := setAll(t, k, next); a.Replaced != 1 || a.Added+a.Deleted != 0 {
		t.Errorf("next hop: %+v", a)
	}
	if a := setAll(t, k, other); a.Added != 1 || a.Deleted != 1 {
		t.Errorf("other CIDR: %+v", a)
	}
	var seen []string
	for len(seen) < 3 {
		b, err := events.next()
		must(t, err)
		must(t, eachMessage(b, func(m message) bool {
			_, perr := parseRoute(m.body, func(r Route) {
				seen = append(seen, fmt.Sprintf("%d %s %t", m.kind, r.Dst, m.flags&flagReplace != 0))
			})
			return perr == nil
		}))
	}
	expect := []string{"24 10.100.0.0/16 true", "24 10.101.0.0/16 false", "25 10.100.0.0/16 false"}
	if !slices.Equal(seen, expect) {
		t.Errorf("the kernel saw %q, want %q", seen, expect)
	}
}
