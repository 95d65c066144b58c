package netcfg

import (
	"encoding/binary"
	"errors"
	"testing"
)

func probeRule(n int) Rule {
	return Rule{
		Priority: ProbePriority + uint32(n), Mark: ProbeMark + uint32(n), Mask: ProbeMask,
		Table: ProbeTable + n, Protocol: OwnProtocol,
	}
}

func decodeRules(b []byte) (rules []Rule, err error) {
	outer := eachMessage(b, func(m message) bool {
		r, ok, perr := parseRule(m.body)
		err = errors.Join(err, perr)
		if ok {
			rules = append(rules, r)
		}
		return true
	})
	return rules, errors.Join(err, outer)
}

func TestRuleMessageRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range []Rule{probeRule(0), probeRule(7), {Priority: 1, Mark: 1 << 31, Mask: 1 << 31, Table: 52, Protocol: 3}} {
		got, err := decodeRules(appendRule(nil, rtmNewRule, 0, 1, want))
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %v, %v", want, got, err)
		}
	}
}

// TestParseRuleTellsMoreFromLess takes no rule for ours that selects or does more
// than the Keeper ever writes.
func TestParseRuleTellsMoreFromLess(t *testing.T) {
	t.Parallel()
	plain := appendRule(nil, rtmNewRule, 0, 1, probeRule(0))
	with := func(attr ...byte) []byte {
		return setLength(append(append([]byte(nil), plain...), attr...), 0)
	}
	header := func(at int, v byte) []byte {
		b := append([]byte(nil), plain...)
		b[headerLen+at] = v
		return b
	}
	attr := func(kind uint16, v uint32) []byte { return with(appendUint32(nil, kind, v)...) }
	for name, c := range map[string]struct {
		b   []byte
		own bool
	}{
		"ours":                   {plain, true},
		"as the kernel tells":    {attr(fraSuppressPrefixlen, noSuppression), true},
		"suppresses prefixes":    {attr(fraSuppressPrefixlen, 0), false},
		"not":                    {header(8, fibRuleInvert), false},
		"blackhole":              {header(7, 6), false},
		"from a source":          {header(2, 8), false},
		"to a destination":       {header(1, 8), false},
		"of a type of service":   {header(3, 4), false},
		"by incoming link":       {attr(fraIifname, 0x306e616c), false},
		"by user":                {attr(fraUIDRange, 0), false},
		"by something yet to be": {attr(200, 0), false},
	} {
		got, err := decodeRules(c.b)
		if err != nil || len(got) != 1 || got[0].Own() != c.own {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for cut := 1; cut < len(plain); cut++ {
		if _, err := decodeRules(plain[:cut]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", cut, len(plain))
		}
	}
	odd := with(6, 0, fraFwmark, 0, 1, 1, 0, 0)
	if _, err := decodeRules(odd); err == nil {
		t.Error("a mark of two bytes was accepted")
	}
}

// FuzzParseRules feeds the decoder what the kernel would never send. Whatever
// decodes in full must survive a round trip.
func FuzzParseRules(f *testing.F) {
	f.Add(appendRule(nil, rtmNewRule, 0, 1, probeRule(0)))
	f.Add(appendRule(nil, rtmDelRule, 0, 1, Rule{Priority: 32766, Table: TableMain, Protocol: ProtoKernel}))
	f.Add(appendRuleDump(nil, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = eachMessage(b, func(m message) bool {
			r, ok, err := parseRule(m.body)
			if err != nil || !ok || r.odd || r.Table < 256 && r.Table != int(tableByte(r.Table)) {
				return true
			}
			again, err := decodeRules(appendRule(nil, rtmNewRule, 0, 1, r))
			if err != nil || len(again) != 1 || again[0] != r {
				t.Fatalf("%v became %v, %v", r, again, err)
			}
			return true
		})
	})
}

// FuzzEventFilter runs arbitrary route messages through a plain reading of the
// filter's purpose: what the parser would use is never dropped.
func FuzzEventFilter(f *testing.F) {
	for _, table := range []int{TableMain, 100, 1000, ProbeTable, ProbeTable + 7, ProbeTable + 8} {
		f.Add(appendRoute(nil, rtmNewRoute, 0, 1, Route{Dst: prefixes("10.0.0.0/8")[0], Table: table}))
	}
	f.Add(appendRule(nil, rtmDelRule, 0, 1, probeRule(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		const port = 4711
		if len(b) < headerLen+rtmsgLen+8 || runFilter(t, eventFilter(port), b) {
			return
		}
		kind := binary.NativeEndian.Uint16(b[4:])
		echo := binary.NativeEndian.Uint32(b[12:]) == port
		switch kind {
		case rtmNewRule, rtmDelRule:
			if !echo {
				t.Fatal("a rule event of somebody else was dropped")
			}
		case rtmNewRoute, rtmDelRoute:
			table := int(b[headerLen+4])
			if table == tableCompat {
				table = int(binary.NativeEndian.Uint32(b[headerLen+rtmsgLen+4:]))
			}
			if ownTable(table) && !echo {
				t.Fatalf("a route event of table %d was dropped", table)
			}
		default:
			t.Fatalf("an event of kind %d was dropped", kind)
		}
	})
}
