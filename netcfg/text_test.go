package netcfg

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// The text forms below keep the tables short: routes as `ip route` prints them
// (dev is an index), links one per line.

// parseRoutes reads lines like "10.100.0.0/16 via 10.200.0.2 dev 2 proto 104 src
// 10.200.0.11 metric 5". Without proto a route is ours; "default" is 0.0.0.0/0.
func parseRoutes(t *testing.T, text string) []Route {
	t.Helper()
	var routes []Route
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "default" {
			words[0] = "0.0.0.0/0"
		}
		r := Route{Dst: netip.MustParsePrefix(words[0]), Protocol: OwnProtocol, Type: TypeUnicast, Table: TableMain}
		for i := 1; i+1 < len(words); i += 2 {
			setRouteWord(t, &r, words[i], words[i+1])
		}
		routes = append(routes, r)
	}
	return routes
}

func setRouteWord(t *testing.T, r *Route, key, value string) {
	t.Helper()
	switch key {
	case "via":
		r.Gateway = netip.MustParseAddr(value)
		return
	case "src":
		r.Source = netip.MustParseAddr(value)
		return
	}
	n, err := strconv.ParseUint(value, 10, 32)
	must(t, err)
	switch key {
	case "dev":
		r.LinkIndex = int(n)
	case "proto":
		r.Protocol = uint8(n)
	case "metric":
		r.Metric = uint32(n)
	case "table":
		r.Table = int(n)
	case "scope":
		r.Scope = uint8(n)
	case "type":
		r.Type = uint8(n)
	case "tos":
		r.TOS = uint8(n)
	case "mtu":
		r.MTU = uint32(n)
	case "advmss":
		r.AdvMSS = uint32(n)
	case "onlink":
		r.OnLink = n != 0
	case "odd":
		r.odd = n != 0
	default:
		t.Fatalf("unknown word %q", key)
	}
}

func formatRoutes(routes []Route) string {
	var b strings.Builder
	for _, r := range routes {
		fmt.Fprintf(&b, "%s\n", strings.ReplaceAll(strings.ReplaceAll(r.String(), "#", ""), " proto 104", ""))
	}
	return b.String()
}

// parseLinks reads lines like "2: eth0 device up 10.200.0.11/24 master 5 mac
// 02:00:00:00:00:01 alt enp1s0". "up" means up with carrier, "nocarrier" up
// without, "down" down.
func parseLinks(t *testing.T, text string) []Link {
	t.Helper()
	var links []Link
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		index, err := strconv.Atoi(strings.TrimSuffix(words[0], ":"))
		must(t, err)
		l := Link{
			Index: index, Name: words[1], Kind: words[2], MTU: 1500,
			Up: words[3] != "down", Carrier: words[3] == "up", Loopback: words[1] == "lo",
		}
		for i := 4; i < len(words); i++ {
			switch words[i] {
			case "master":
				i++
				l.MasterIndex, err = strconv.Atoi(words[i])
				must(t, err)
			case "mac":
				i++
				l.MAC = words[i]
			case "alt":
				i++
				l.AltNames = append(l.AltNames, words[i])
			default:
				l.Addrs = append(l.Addrs, netip.MustParsePrefix(words[i]))
			}
		}
		links = append(links, l)
	}
	return links
}

func parseInventory(t *testing.T, links, routes string) Inventory {
	t.Helper()
	inv := Inventory{Links: parseLinks(t, links), Routes: parseRoutes(t, routes)}
	inv.setDefaultMetrics()
	return inv
}

func prefixes(text ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range text {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func addresses(text ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range text {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}
