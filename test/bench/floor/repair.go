package floor

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RepairRaw puts deleted routes back with bare system calls: one read, one send.
// It calls ready once the routes are installed and never returns but by error.
func RepairRaw(routes []Route, ready func()) error {
	writer, err := Open(0)
	if err != nil {
		return err
	}
	defer writer.Close()
	messages := make(map[[4]byte][]byte, len(routes))
	for _, r := range routes {
		m := r.Message(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
		messages[r.Dst] = m
		if err := writer.Send(m); err != nil {
			return fmt.Errorf("cannot install route: %w", err)
		}
	}
	events, err := Open(RouteEvents) // not before: its own writes would fill the buffer
	if err != nil {
		return err
	}
	defer events.Close()
	ready()
	buf := make([]byte, 8<<10)
	for {
		n, err := events.Receive(buf)
		if err != nil {
			return fmt.Errorf("cannot read route events: %w", err)
		}
		kind, dst, _ := Event(buf[:n])
		if m := messages[dst]; kind == unix.RTM_DELROUTE && m != nil {
			if err := writer.Send(m); err != nil {
				return fmt.Errorf("cannot restore route: %w", err)
			}
		}
	}
}

// RepairVishvananda does the same with vishvananda/netlink as its documentation
// shows it: RouteSubscribe and RouteAdd.
func RepairVishvananda(routes []Route, ready func()) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot open rtnetlink socket: %w", err)
	}
	defer h.Close()
	wanted := make(map[netip.Prefix]*netlink.Route, len(routes))
	for _, r := range routes {
		route := &netlink.Route{
			Dst: r.IPNet(), Gw: r.Gateway[:], Src: r.Source[:], LinkIndex: r.Link, Protocol: netlink.RouteProtocol(r.Protocol),
		}
		wanted[netip.PrefixFrom(netip.AddrFrom4(r.Dst), int(r.Bits))] = route
		if err := h.RouteAdd(route); err != nil {
			return fmt.Errorf("cannot install route: %w", err)
		}
	}
	updates := make(chan netlink.RouteUpdate, 64)
	done := make(chan struct{})
	defer close(done)
	if err := netlink.RouteSubscribe(updates, done); err != nil {
		return fmt.Errorf("cannot subscribe to route events: %w", err)
	}
	ready()
	for u := range updates {
		if u.Type != unix.RTM_DELROUTE || u.Dst == nil {
			continue
		}
		ip, _ := netip.AddrFromSlice(u.Dst.IP.To4())
		ones, _ := u.Dst.Mask.Size()
		if route := wanted[netip.PrefixFrom(ip, ones)]; route != nil {
			if err := h.RouteAdd(route); err != nil {
				return fmt.Errorf("cannot restore route: %w", err)
			}
		}
	}
	return fmt.Errorf("route events ended")
}
