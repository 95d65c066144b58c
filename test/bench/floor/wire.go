package floor

import (
	"encoding/binary"
	"fmt"
	"net"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Protocol is the rtm_protocol of the floors' routes: RTPROT_STATIC.
const Protocol = unix.RTPROT_STATIC

// Route is an IPv4 route of the main table; addresses are in network order.
type Route struct {
	Dst      [4]byte
	Bits     uint8
	Gateway  [4]byte
	Source   [4]byte
	Link     int
	Protocol uint8
}

// IPNet is the destination in the form that netlink wants.
func (r Route) IPNet() *net.IPNet {
	return &net.IPNet{IP: net.IP(r.Dst[:]), Mask: net.CIDRMask(int(r.Bits), 32)}
}

// Message builds a request of that kind (RTM_NEWROUTE, RTM_DELROUTE).
func (r Route) Message(kind, flags int) []byte {
	req := nl.NewNetlinkRequest(kind, flags)
	msg := nl.NewRtMsg()
	msg.Family, msg.Dst_len, msg.Protocol, msg.Scope = unix.AF_INET, r.Bits, r.Protocol, unix.RT_SCOPE_UNIVERSE
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, r.Dst[:]))
	req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, r.Gateway[:]))
	req.AddData(nl.NewRtAttr(unix.RTA_PREFSRC, r.Source[:]))
	req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(r.Link))))
	return req.Serialize()
}

// Socket is a blocking rtnetlink socket.
type Socket int

// Open opens a socket in the calling thread's network namespace, subscribed to
// the multicast groups (a bit mask, 0 for none).
func Open(groups uint32) (Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return 0, fmt.Errorf("cannot open rtnetlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("cannot bind rtnetlink socket: %w", err)
	}
	return Socket(fd), nil
}

// RouteEvents is the group of IPv4 route changes.
const RouteEvents = 1 << (unix.RTNLGRP_IPV4_ROUTE - 1)

// Close closes the socket.
func (s Socket) Close() { _ = unix.Close(int(s)) }

// SetTimeout bounds each Receive.
func (s Socket) SetTimeout(seconds int64) error {
	return unix.SetsockoptTimeval(int(s), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: seconds})
}

// Send sends one request.
func (s Socket) Send(b []byte) error { return unix.Send(int(s), b, 0) }

// Receive reads one datagram.
func (s Socket) Receive(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// Event returns the kind of the first message in b and its destination.
func Event(b []byte) (kind uint16, dst [4]byte, bits uint8) {
	const header, rtmsg = unix.SizeofNlMsghdr, unix.SizeofRtMsg
	if len(b) < header+rtmsg {
		return 0, dst, 0
	}
	kind = binary.NativeEndian.Uint16(b[4:])
	bits = b[header+1]
	for at := b[header+rtmsg:]; len(at) >= 4; {
		n := int(binary.NativeEndian.Uint16(at))
		if n < 4 || n > len(at) {
			break
		}
		if binary.NativeEndian.Uint16(at[2:]) == unix.RTA_DST && n == 8 {
			copy(dst[:], at[4:8])
			break
		}
		at = at[min((n+3)&^3, len(at)):]
	}
	return kind, dst, bits
}
