package netcfg

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestEventFilter lets the kernel judge: own writes and others' tables are not
// heard of, everything else is, in order.
func TestEventFilter(t *testing.T) {
	enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	own, err := dialRequest()
	must(t, err)
	defer own.close()
	events, err := dialEvents(own.port, eventBuffer)
	must(t, err)
	defer events.close()
	must(t, events.file.SetReadDeadline(time.Now().Add(5*time.Second)))

	must(t, own.writeRoute(rtmNewRoute, flagCreate, ours(nic, vpc, server, nodeIP))) // our echo
	other := vishRoute(nic, "10.101.0.0/16", server, 3)
	other.Table = 100
	must(t, netlink.RouteAdd(other)) // another table
	other.Table = 2004
	must(t, netlink.RouteAdd(other)) // another one, with a number as long as ours
	other.Table = ProbeTable + MaxVPNServers
	must(t, netlink.RouteAdd(other)) // just beside ours
	for _, err := range own.writeRules(rtmNewRule, flagCreate, []Rule{probeRule(0)}) {
		must(t, err) // our echo
	}
	other.Table = ProbeTable + MaxVPNServers - 1
	must(t, netlink.RouteAdd(other))
	must(t, ipRule(probeRule(0), netlink.RuleDel))
	must(t, ipRule(probeRule(1), netlink.RuleAdd))
	must(t, netlink.RouteAdd(vishRoute(nic, "10.102.0.0/16", server, 3)))
	must(t, netlink.RouteDel(vishRoute(nic, vpc, server, int(OwnProtocol))))
	addAddr(t, nic, "10.200.0.12/24") // also a route of the local table
	must(t, netlink.LinkSetDown(nic))

	want := []string{"24 10.101.0.0/16", "33 26800", "32 26801", "24 10.102.0.0/16", "25 10.100.0.0/16", "20", "16"}
	var seen []string
	for len(seen) < len(want) {
		b, err := events.next()
		must(t, err)
		must(t, eachMessage(b, func(m message) bool {
			what := fmt.Sprint(m.kind)
			switch m.kind {
			case rtmNewRule, rtmDelRule:
				r, _, _ := parseRule(m.body)
				what += fmt.Sprint(" ", r.Priority)
			case rtmNewRoute, rtmDelRoute:
				_, _ = parseRoute(m.body, func(r Route) { what += " " + r.Dst.String() })
			}
			// The kernel tells of a new link's carrier when it comes to it.
			if early := m.kind == rtmNewLink && len(seen) < len(want)-1; !early {
				seen = append(seen, what)
			}
			return true
		}))
	}
	if !slices.Equal(seen, want) {
		t.Errorf("events %q, want %q", seen, want)
	}
}

// runFilter interprets the few instructions that the filter uses, and says whether
// the message is kept.
func runFilter(t *testing.T, program []unix.SockFilter, b []byte) bool {
	t.Helper()
	var acc uint32
	for pc := 0; ; pc++ {
		in := program[pc]
		switch in.Code {
		case unix.BPF_LD | unix.BPF_ABS | unix.BPF_B:
			acc = uint32(b[in.K])
		case unix.BPF_LD | unix.BPF_ABS | unix.BPF_H:
			acc = uint32(binary.BigEndian.Uint16(b[in.K:]))
		case unix.BPF_LD | unix.BPF_ABS | unix.BPF_W:
			acc = binary.BigEndian.Uint32(b[in.K:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if acc == in.K {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return in.K != 0
		default:
			t.Fatalf("unknown instruction %#x", in.Code)
		}
	}
}
