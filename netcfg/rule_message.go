package netcfg

import "encoding/binary"

// Parts of linux/fib_rules.h. A struct fib_rule_hdr has the size of a struct rtmsg:
// family, dst_len, src_len, tos, table, two reserved bytes, action, flags.
const (
	fraDst               = 1
	fraSrc               = 2
	fraIifname           = 3
	fraGoto              = 4
	fraPriority          = 6
	fraFwmark            = 10
	fraFlow              = 11
	fraTunID             = 12
	fraSuppressIfgroup   = 13
	fraSuppressPrefixlen = 14
	fraTable             = 15
	fraFwmask            = 16
	fraOifname           = 17
	fraL3mdev            = 19
	fraUIDRange          = 20
	fraProtocol          = 21
	fraIPProto           = 22
	fraSportRange        = 23
	fraDportRange        = 24

	frActToTable  = 1 // FR_ACT_TO_TBL
	fibRuleInvert = 2 // FIB_RULE_INVERT: "not"
	noSuppression = 0xffffffff
)

// parseRule decodes the body of an RTM_NEWRULE or RTM_DELRULE. ok is false for what
// is no IPv4 rule.
func parseRule(body []byte) (r Rule, ok bool, err error) {
	if len(body) < rtmsgLen {
		return Rule{}, false, errTruncated
	}
	if body[0] != afInet {
		return Rule{}, false, nil
	}
	r.Table = int(body[4])
	selects := body[1] != 0 || body[2] != 0 || body[3] != 0
	r.odd = selects || body[7] != frActToTable || binary.NativeEndian.Uint32(body[8:])&fibRuleInvert != 0
	bad := false
	err = eachAttr(body[rtmsgLen:], func(kind uint16, v []byte) { bad = !r.setAttr(kind, v) || bad })
	if err != nil || bad {
		return Rule{}, false, errTruncated
	}
	return r, true, nil
}

// setAttr sets what one attribute says; false if its size is wrong. Attributes that
// select packets or act in a way that Rule has no field for make the rule odd.
func (r *Rule) setAttr(kind uint16, v []byte) bool {
	switch kind {
	case fraProtocol:
		if len(v) != 1 {
			return false
		}
		r.Protocol = v[0]
		return true
	case fraPriority, fraFwmark, fraFwmask, fraTable, fraSuppressPrefixlen, fraSuppressIfgroup:
	case fraDst, fraSrc, fraIifname, fraOifname, fraGoto, fraFlow, fraTunID, fraL3mdev, fraUIDRange, fraIPProto, fraSportRange, fraDportRange:
		r.odd = true
		return true
	default:
		// What came to the kernel later may select: better one of ours too many
		// than a rule of somebody else's taken for ours.
		r.odd = r.odd || kind > fraDportRange
		return true
	}
	if len(v) != 4 {
		return false
	}
	n := binary.NativeEndian.Uint32(v)
	switch kind {
	case fraPriority:
		r.Priority = n
	case fraFwmark:
		r.Mark = n
	case fraFwmask:
		r.Mask = n
	case fraTable:
		r.Table = int(n)
	default:
		r.odd = r.odd || n != noSuppression
	}
	return true
}

// appendRule appends one rule request to b.
func appendRule(b []byte, kind, flags uint16, seq uint32, r Rule) []byte {
	start := len(b)
	b = appendHeader(b, kind, flags, seq)
	b = append(b, afInet, 0, 0, 0, tableByte(r.Table), 0, 0, frActToTable, 0, 0, 0, 0)
	b = appendTable(b, fraTable, r.Table)
	b = appendUint32(b, fraPriority, r.Priority)
	b = appendUint32(b, fraFwmark, r.Mark)
	b = appendUint32(b, fraFwmask, r.Mask)
	b = binary.NativeEndian.AppendUint16(b, 5)
	b = binary.NativeEndian.AppendUint16(b, fraProtocol)
	b = append(b, r.Protocol, 0, 0, 0)
	return setLength(b, start)
}

// appendRuleDump appends a dump request for all IPv4 rules; the kernel filters by
// family only.
func appendRuleDump(b []byte, seq uint32) []byte {
	start := len(b)
	b = appendHeader(b, rtmGetRule, flagRequest|flagDump, seq)
	b = append(b, afInet, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	return setLength(b, start)
}
