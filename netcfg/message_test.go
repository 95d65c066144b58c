package netcfg

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func decodeRoutes(b []byte) (routes []Route, err error) {
	outer := eachMessage(b, func(m message) bool {
		_, perr := parseRoute(m.body, func(r Route) { routes = append(routes, r) })
		err = errors.Join(err, perr)
		return true
	})
	return routes, errors.Join(err, outer)
}

func TestRouteMessageRoundTrip(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11",
		"10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 metric 4294967295",
		"default via 10.200.0.1 dev 2 proto 4",
		"10.0.0.0/8 dev 7 scope 253 proto 2",
		"10.1.2.3/32 type 6 table 1000 tos 16",
		"10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 mtu 1400 advmss 1360",
		"10.100.0.0/16 via 192.168.9.1 dev 2 onlink 1 advmss 1360 table 26624",
	} {
		want := parseRoutes(t, line)
		got, err := decodeRoutes(appendRoute(nil, rtmNewRoute, 0, 1, want[0]))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", line, got, err)
		}
	}
}

func TestParseRouteRefusesDamage(t *testing.T) {
	t.Parallel()
	good := appendRoute(nil, rtmNewRoute, 0, 1, parseRoutes(t, "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11")[0])
	for cut := 1; cut < len(good); cut++ {
		if _, err := decodeRoutes(good[:cut]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", cut, len(good))
		}
	}
	odd := bytes.Clone(good)
	odd[headerLen+rtmsgLen] = 6 // RTA_DST of two bytes
	if _, err := decodeRoutes(odd); err == nil {
		t.Error("an address of two bytes was accepted")
	}
}

func TestParseRouteSkipsOthers(t *testing.T) {
	t.Parallel()
	r := parseRoutes(t, "10.100.0.0/16 via 10.200.0.2 dev 2")[0]
	v6 := appendRoute(nil, rtmNewRoute, 0, 1, r)
	v6[headerLen] = 10 // AF_INET6
	cloned := appendRoute(nil, rtmNewRoute, 0, 1, r)
	cloned[headerLen+9] = rtmFCloned >> 8
	for name, b := range map[string][]byte{"IPv6": v6, "cache entry": cloned} {
		if got, err := decodeRoutes(b); err != nil || len(got) > 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestParseAck(t *testing.T) {
	t.Parallel()
	ack := func(code int32, flags uint16, tail ...byte) message {
		body := appendHeader([]byte{byte(code), byte(code >> 8), byte(code >> 16), byte(code >> 24)}, 0, 0, 1)
		body[4] = headerLen
		return message{kind: nlmsgError, flags: flags, body: append(body, tail...)}
	}
	text := []byte{4 + 4, 0, extAckMsg, 0, 'n', 'o', '!', 0}
	if err := parseAck(ack(0, 0)); err != nil {
		t.Errorf("consent: %v", err)
	}
	for _, flags := range []uint16{flagExtAck, flagExtAck | flagCapped} {
		err := parseAck(ack(-int32(syscall.EEXIST), flags, text...))
		if !errors.Is(err, syscall.EEXIST) || !strings.Contains(err.Error(), "no!") {
			t.Errorf("flags %#x: %v", flags, err)
		}
	}
	if err := parseAck(ack(-int32(syscall.EPERM), 0)); !errors.Is(err, syscall.EPERM) {
		t.Errorf("plain: %v", err)
	}
	if err := parseAck(message{body: []byte{1}}); err == nil {
		t.Error("a truncated ACK was accepted")
	}
}

// FuzzParseMessages feeds the decoder what the kernel would never send. Whatever
// decodes must survive a round trip.
func FuzzParseMessages(f *testing.F) {
	for _, r := range []Route{
		{Dst: prefixes("10.100.0.0/16")[0], Gateway: addresses("10.200.0.2")[0], LinkIndex: 2, Table: TableMain},
		{Dst: prefixes("0.0.0.0/0")[0], Table: 1000, Metric: 7},
	} {
		f.Add(appendRoute(nil, rtmNewRoute, flagReplace, 3, r))
	}
	f.Add(appendRoute(nil, rtmNewRoute, 0, 3, Route{Dst: prefixes("10.0.0.0/8")[0], Table: ProbeTable, OnLink: true, MTU: 1400, AdvMSS: 1360}))
	f.Add(appendDump(nil, 1, TableMain, OwnProtocol))
	f.Add(appendMultipath())
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = eachMessage(b, func(m message) bool {
			_ = parseAck(m)
			_, _ = parseRoute(m.body, func(r Route) {
				if r.Multipath || r.odd || r.LinkIndex < 0 || (r.Table < 256 && r.Table != int(byte(r.Table))) {
					return
				}
				again, err := decodeRoutes(appendRoute(nil, rtmNewRoute, 0, 1, r))
				if err != nil || len(again) != 1 || again[0] != r {
					t.Fatalf("%v became %v, %v", r, again, err)
				}
			})
			return true
		})
	})
}

// appendMultipath is "10.100.0.0/16 nexthop via 10.200.0.2 dev 2 nexthop via
// 192.168.77.1 dev 3" as the kernel sends it.
func appendMultipath() []byte {
	b := appendRoute(nil, rtmNewRoute, 0, 1, Route{Dst: prefixes("10.100.0.0/16")[0], Table: TableMain, Protocol: 3, Type: TypeUnicast})
	b = append(b, 4+32, 0, rtaMultipath, 0)
	for i, via := range addresses("10.200.0.2", "192.168.77.1") {
		b = append(b, 16, 0, 0, 0, byte(2+i), 0, 0, 0)
		b = appendAddr(b, rtaGateway, via)
	}
	b[0] = byte(len(b))
	return b
}

func TestParseMultipath(t *testing.T) {
	t.Parallel()
	got, err := decodeRoutes(appendMultipath())
	want := parseRoutes(t, "10.100.0.0/16 via 10.200.0.2 dev 2 proto 3\n10.100.0.0/16 via 192.168.77.1 dev 3 proto 3")
	for i := range want {
		want[i].Multipath = true
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}
