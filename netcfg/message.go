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
	rtmNewRule   = 32
	rtmDelRule   = 33
	rtmGetRule   = 34
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
	rtaMetrics   = 8
	rtaMultipath = 9
	rtaFlow      = 11
	rtaTable     = 15
	rtaVia       = 18
	rtaEncap     = 22
	rtaNHID      = 30

	rtaxLock   = 1
	rtaxMTU    = 2
	rtaxAdvMSS = 8
	maxMTU     = 65520 // fib_metrics.c writes this for anything above
	maxAdvMSS  = 65495

	extAckMsg = 1

	afInet       = 2
	headerLen    = 16
	rtmsgLen     = 12
	rtmFCloned   = 0x200
	rtnhFOnLink  = 4
	scopeNowhere = 255 // RT_SCOPE_NOWHERE: any, in a delete request
	tableCompat  = 252 // rtm_table of what needs RTA_TABLE
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

// tableByte is a table in the header; what does not fit there goes into an
// attribute (appendTable).
func tableByte(table int) byte {
	if table >= 256 {
		return tableCompat
	}
	return byte(table)
}

func appendTable(b []byte, kind uint16, table int) []byte {
	if table < 256 {
		return b
	}
	return appendUint32(b, kind, uint32(table))
}

// setLength completes the message that begins at start.
func setLength(b []byte, start int) []byte {
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
