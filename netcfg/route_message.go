package netcfg

import (
	"encoding/binary"
	"net/netip"
)

// parseRoute decodes the body of an RTM_NEWROUTE or RTM_DELROUTE. ok is false for
// what is no IPv4 routing table entry. A multipath route comes as its hops, all
// with Multipath set.
func parseRoute(body []byte, f func(Route)) (ok bool, err error) {
	if len(body) < rtmsgLen {
		return false, errTruncated
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	if body[0] != afInet || flags&rtmFCloned != 0 || body[1] > 32 {
		return false, nil
	}
	r := Route{
		TOS: body[3], Table: int(body[4]), Protocol: body[5], Scope: body[6], Type: body[7],
		Dst: netip.PrefixFrom(netip.IPv4Unspecified(), int(body[1])), OnLink: flags&rtnhFOnLink != 0,
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
	case rtaMetrics:
		return r.setMetrics(v)
	case rtaFlow, rtaVia, rtaEncap, rtaNHID:
		r.odd = true
		return true
	default:
		return true // says nothing about where packets go
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

// setMetrics sets what RTA_METRICS says; false if it is damaged.
func (r *Route) setMetrics(b []byte) bool {
	bad := false
	err := eachAttr(b, func(kind uint16, v []byte) {
		if kind != rtaxMTU && kind != rtaxAdvMSS && kind != rtaxLock {
			r.odd = true
			return
		}
		if len(v) != 4 {
			bad = true
			return
		}
		n := binary.NativeEndian.Uint32(v)
		switch kind {
		case rtaxMTU:
			r.MTU = n
		case rtaxAdvMSS:
			r.AdvMSS = n
		case rtaxLock:
			r.odd = r.odd || n != 0
		}
	})
	return err == nil && !bad
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
		hop.OnLink = b[2]&rtnhFOnLink != 0
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
	onLink := byte(0)
	if r.OnLink {
		onLink = rtnhFOnLink
	}
	b = append(b, afInet, byte(r.Dst.Bits()), 0, r.TOS, tableByte(r.Table), r.Protocol, r.Scope, r.Type)
	b = binary.NativeEndian.AppendUint32(b, uint32(onLink))
	b = appendAddr(b, rtaDst, r.Dst.Addr())
	b = appendAddr(b, rtaGateway, r.Gateway)
	b = appendAddr(b, rtaPrefSrc, r.Source)
	if r.LinkIndex != 0 {
		b = appendUint32(b, rtaOif, uint32(r.LinkIndex))
	}
	if r.Metric != 0 {
		b = appendUint32(b, rtaPriority, r.Metric)
	}
	b = appendTable(b, rtaTable, r.Table)
	b = appendMetrics(b, r)
	return setLength(b, start)
}

// appendMetrics appends RTA_METRICS where the route has any.
func appendMetrics(b []byte, r Route) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	if r.MTU != 0 {
		b = appendUint32(b, rtaxMTU, r.MTU)
	}
	if r.AdvMSS != 0 {
		b = appendUint32(b, rtaxAdvMSS, r.AdvMSS)
	}
	if len(b) == start+4 {
		return b[:start]
	}
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	binary.NativeEndian.PutUint16(b[start+2:], rtaMetrics)
	return b
}

// appendDump appends a dump request for one table's IPv4 routes, of one protocol
// or of all (0). The kernel filters when strict checking is on.
func appendDump(b []byte, seq uint32, table int, protocol uint8) []byte {
	start := len(b)
	b = appendHeader(b, rtmGetRoute, flagRequest|flagDump, seq)
	b = append(b, afInet, 0, 0, 0, tableByte(table), protocol, 0, 0, 0, 0, 0, 0)
	b = appendTable(b, rtaTable, table)
	return setLength(b, start)
}
