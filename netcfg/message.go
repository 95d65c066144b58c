package netcfg

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Parts of linux/netlink.h and linux/rtnetlink.h, here so that the codec below
// stays pure and builds everywhere. Netlink is in host byte order.
const (
	nlmsgError   = 2
	nlmsgDone    = 3
	rtmNewLink   = 16
	rtmDelLink   = 17
	rtmNewAddr   = 20
	rtmDelAddr   = 21
	rtmNewRoute  = 24
	rtmDelRoute  = 25
	rtmGetRoute  = 26
	flagRequest  = 0x1
	flagAck      = 0x4
	flagDumpIntr = 0x10
	flagReplace  = 0x100
	flagExcl     = 0x200
	flagCreate   = 0x400
	flagDump     = 0x300
	flagExtAck   = 0x200 // NLM_F_ACK_TLVS, in an error message
	flagCapped   = 0x100 // NLM_F_CAPPED, in an error message

	rtaDst       = 1
	rtaOif       = 4
	rtaGateway   = 5
	rtaPriority  = 6
	rtaPrefSrc   = 7
	rtaMultipath = 9
	rtaTable     = 15

	extAckMsg = 1

	afInet      = 2
	headerLen   = 16
	rtmsgLen    = 12
	rtmFCloned  = 0x200
	maxRouteMsg = headerLen + rtmsgLen + 6*8
)

// message is one netlink message; body is a slice of the buffer it came in.
type message struct {
	kind, flags uint16
	seq, port   uint32
	body        []byte
}

var errTruncated = errors.New("truncated netlink message")

func align4(n int) int { return (n + 3) &^ 3 }

// eachMessage calls f for every message in b, until f returns false.
func eachMessage(b []byte, f func(message) bool) error {
	for len(b) >= headerLen {
		n := int(binary.NativeEndian.Uint32(b))
		if n < headerLen || n > len(b) {
			return errTruncated
		}
		m := message{
			kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
			seq: binary.NativeEndian.Uint32(b[8:]), port: binary.NativeEndian.Uint32(b[12:]),
			body: b[headerLen:n],
		}
		if !f(m) {
			return nil
		}
		b = b[min(align4(n), len(b)):]
	}
	if len(b) > 0 {
		return errTruncated
	}
	return nil
}

// eachAttr calls f for every attribute in b.
func eachAttr(b []byte, f func(kind uint16, value []byte)) error {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return errTruncated
		}
		f(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:n])
		b = b[min(align4(n), len(b)):]
	}
	return nil
}

// parseRoute decodes the body of an RTM_NEWROUTE or RTM_DELROUTE. ok is false for
// what is no IPv4 routing table entry. A multipath route comes as its hops, all
// with Multipath set.
func parseRoute(body []byte, f func(Route)) (ok bool, err error) {
	if len(body) < rtmsgLen {
		return false, errTruncated
	}
	if body[0] != afInet || binary.NativeEndian.Uint32(body[8:])&rtmFCloned != 0 || body[1] > 32 {
		return false, nil
	}
	r := Route{
		TOS: body[3], Table: int(body[4]), Protocol: body[5], Scope: body[6], Type: body[7],
		Dst: netip.PrefixFrom(netip.IPv4Unspecified(), int(body[1])),
	}
	var hops []byte
	bad := false
	err = eachAttr(body[rtmsgLen:], func(kind uint16, v []byte) {
		if kind == rtaMultipath {
			hops = v
			return
		}
		bad = !r.setAttr(kind, v) || bad
	})
	if err != nil || bad {
		return false, errTruncated
	}
	r.Dst = r.Dst.Masked()
	if hops == nil {
		f(r)
		return true, nil
	}
	return true, parseHops(r, hops, f)
}

// setAttr sets what one attribute says; false if its size is wrong.
func (r *Route) setAttr(kind uint16, v []byte) bool {
	switch kind {
	case rtaDst, rtaGateway, rtaPrefSrc, rtaOif, rtaPriority, rtaTable:
	default:
		return true
	}
	if len(v) != 4 {
		return false
	}
	n := binary.NativeEndian.Uint32(v)
	addr := netip.AddrFrom4([4]byte(v))
	switch kind {
	case rtaDst:
		r.Dst = netip.PrefixFrom(addr, r.Dst.Bits())
	case rtaGateway:
		r.Gateway = addr
	case rtaPrefSrc:
		r.Source = addr
	case rtaOif:
		r.LinkIndex = int(n)
	case rtaPriority:
		r.Metric = n
	case rtaTable:
		r.Table = int(n)
	}
	return true
}

// parseHops decodes RTA_MULTIPATH: a struct rtnexthop with attributes per hop.
func parseHops(r Route, b []byte, f func(Route)) error {
	r.Multipath = true
	for len(b) >= 8 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 8 || n > len(b) {
			return errTruncated
		}
		hop := r
		hop.LinkIndex = int(int32(binary.NativeEndian.Uint32(b[4:])))
		bad := false
		err := eachAttr(b[8:n], func(kind uint16, v []byte) {
			if kind == rtaGateway {
				bad = !hop.setAttr(kind, v)
			}
		})
		if err != nil || bad {
			return errTruncated
		}
		f(hop)
		b = b[min(align4(n), len(b)):]
	}
	return nil
}

// appendRoute appends one route request to b.
func appendRoute(b []byte, kind, flags uint16, seq uint32, r Route) []byte {
	start := len(b)
	b = appendHeader(b, kind, flags, seq)
	table := byte(TableMain)
	if r.Table < 256 {
		table = byte(r.Table)
	}
	b = append(b, afInet, byte(r.Dst.Bits()), 0, r.TOS, table, r.Protocol, r.Scope, r.Type, 0, 0, 0, 0)
	b = appendAddr(b, rtaDst, r.Dst.Addr())
	b = appendAddr(b, rtaGateway, r.Gateway)
	b = appendAddr(b, rtaPrefSrc, r.Source)
	if r.LinkIndex != 0 {
		b = appendUint32(b, rtaOif, uint32(r.LinkIndex))
	}
	if r.Metric != 0 {
		b = appendUint32(b, rtaPriority, r.Metric)
	}
	if r.Table >= 256 {
		b = appendUint32(b, rtaTable, uint32(r.Table))
	}
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// appendDump appends a dump request for the main table's IPv4 routes, of one
// protocol or of all (0). The kernel filters when strict checking is on.
func appendDump(b []byte, seq uint32, protocol uint8) []byte {
	start := len(b)
	b = appendHeader(b, rtmGetRoute, flagRequest|flagDump, seq)
	b = append(b, afInet, 0, 0, 0, TableMain, protocol, 0, 0, 0, 0, 0, 0)
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func appendHeader(b []byte, kind, flags uint16, seq uint32) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	return append(b, 0, 0, 0, 0)
}

func appendAddr(b []byte, kind uint16, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	v := a.As4()
	return appendUint32(b, kind, binary.NativeEndian.Uint32(v[:]))
}

func appendUint32(b []byte, kind uint16, v uint32) []byte {
	b = binary.NativeEndian.AppendUint16(b, 8)
	b = binary.NativeEndian.AppendUint16(b, kind)
	return binary.NativeEndian.AppendUint32(b, v)
}
