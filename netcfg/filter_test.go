package netcfg

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// TestEventFilter lets the kernel judge: own writes and other tables are not
// heard of, everything else is, in order.
func TestEventFilter(t *testing.T) {
	enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	own, err := dialRequest()
	must(t, err)
	defer own.close()
	events, err := dialEvents(own.port)
	must(t, err)
	defer events.close()
	must(t, events.file.SetReadDeadline(time.Now().Add(5*time.Second)))

	must(t, own.writeOne(rtmNewRoute, flagCreate, ours(nic, vpc, server, nodeIP))) // our echo
	other := vishRoute(nic, "10.101.0.0/16", server, 3)
	other.Table = 100
	must(t, netlink.RouteAdd(other)) // another table
	must(t, netlink.RouteAdd(vishRoute(nic, "10.102.0.0/16", server, 3)))
	must(t, netlink.RouteDel(vishRoute(nic, vpc, server, int(OwnProtocol))))
	addAddr(t, nic, "10.200.0.12/24") // also a route of the local table
	must(t, netlink.LinkSetDown(nic))

	want := []string{"24 10.102.0.0/16", "25 10.100.0.0/16", "20", "16"}
	var seen []string
	for len(seen) < len(want) {
		b, err := events.next()
		must(t, err)
		must(t, eachMessage(b, func(m message) bool {
			what := fmt.Sprint(m.kind)
			_, _ = parseRoute(m.body, func(r Route) { what += " " + r.Dst.String() })
			seen = append(seen, what)
			return true
		}))
	}
	if !slices.Equal(seen, want) {
		t.Errorf("events %q, want %q", seen, want)
	}
}
