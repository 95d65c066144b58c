package netcfg

import (
	"strings"
	"testing"
)

// trimTable takes the indentation off a table's text.
func trimTable(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func TestPlanSeveralServers(t *testing.T) {
	t.Parallel()
	vpc := prefixes("10.100.0.0/16")
	cases := map[string]struct {
		intent RouteIntent
		want   string
	}{
		"each has a table, the first is active": {
			RouteIntent{VPCCIDRs: prefixes("10.101.0.0/16", "10.100.0.0/16"), VPNServers: addresses("10.200.0.3", "10.200.0.2"), Metric: 50}, `
			10.100.0.0/16 via 10.200.0.3 dev 2 src 10.200.0.11 metric 50
			10.101.0.0/16 via 10.200.0.3 dev 2 src 10.200.0.11 metric 50
			10.100.0.0/16 via 10.200.0.3 dev 2 src 10.200.0.11 table 0x6800
			10.101.0.0/16 via 10.200.0.3 dev 2 src 10.200.0.11 table 0x6800
			10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 table 0x6801
			10.101.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 table 0x6801
			26800: fwmark 0x60/0xff lookup 0x6800 proto 104
			26801: fwmark 0x61/0xff lookup 0x6801 proto 104
			probe 10.200.0.3 mark 0x60
			probe 10.200.0.2 mark 0x61
			active 10.200.0.3`},
		"the standby is active: only the main table differs": {
			RouteIntent{VPCCIDRs: vpc, VPNServers: addresses("10.200.0.3", "10.200.0.2"), Active: addresses("10.200.0.2")[0]}, `
			10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11
			10.100.0.0/16 via 10.200.0.3 dev 2 src 10.200.0.11 table 0x6800
			10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 table 0x6801
			26800: fwmark 0x60/0xff lookup 0x6800 proto 104
			26801: fwmark 0x61/0xff lookup 0x6801 proto 104
			probe 10.200.0.3 mark 0x60
			probe 10.200.0.2 mark 0x61
			active 10.200.0.2`},
		"one that cannot be used leaves the others' numbers alone": {
			RouteIntent{VPCCIDRs: vpc, VPNServers: addresses("10.200.0.3", "10.9.9.9", "10.200.0.2"), Active: addresses("10.9.9.9")[0]}, `
			10.100.0.0/16 via 10.200.0.3 dev 2 src 10.200.0.11
			10.100.0.0/16 via 10.200.0.3 dev 2 src 10.200.0.11 table 0x6800
			10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 table 0x6802
			26800: fwmark 0x60/0xff lookup 0x6800 proto 104
			26802: fwmark 0x62/0xff lookup 0x6802 proto 104
			probe 10.200.0.3 mark 0x60
			probe 10.200.0.2 mark 0x62
			active 10.200.0.3
			without network.vpn_servers[1] 10.9.9.9 VPNServerNotOnLink: it is not on-link on lan0 (10.200.0.11/24)`},
		"one is left: it is probed by the main table": {
			RouteIntent{VPCCIDRs: vpc, VPNServers: addresses("10.200.0.255", "10.200.0.2", "10.200.0.2"), Active: addresses("10.200.0.77")[0]}, `
			10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11
			probe 10.200.0.2 mark 0x0
			active 10.200.0.2
			without network.vpn_servers[0] 10.200.0.255 VPNServerInvalid: it is the broadcast address of 10.200.0.0/24
			without network.vpn_servers[2] 10.200.0.2 VPNServerInvalid: it is given twice, at network.vpn_servers[1] too`},
		"onlink where no subnet holds the server": {
			RouteIntent{VPCCIDRs: vpc, VPNServers: addresses("10.9.9.9", "10.200.0.2", "10.55.0.1", "192.168.77.2"), OnLink: true}, `
			10.100.0.0/16 via 10.9.9.9 dev 2 src 10.200.0.11 onlink
			10.100.0.0/16 via 10.9.9.9 dev 2 src 10.200.0.11 onlink table 0x6800
			10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 table 0x6801
			10.100.0.0/16 via 10.55.0.1 dev 2 src 10.200.0.11 table 0x6802
			26800: fwmark 0x60/0xff lookup 0x6800 proto 104
			26801: fwmark 0x61/0xff lookup 0x6801 proto 104
			26802: fwmark 0x62/0xff lookup 0x6802 proto 104
			probe 10.9.9.9 mark 0x60
			probe 10.200.0.2 mark 0x61
			probe 10.55.0.1 mark 0x62
			active 10.9.9.9
			without network.vpn_servers[3] 192.168.77.2 VPNServerNotOnLink: it is not on-link on lan0 (10.200.0.11/24), but on office0 (192.168.77.11/24)`},
		"MTU and MSS, for probes as well": {
			RouteIntent{VPCCIDRs: vpc, VPNServers: addresses("10.200.0.2", "10.200.0.3"), MTU: 1400}, `
			10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 mtu 1400 advmss 1360
			10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11 mtu 1400 advmss 1360 table 0x6800
			10.100.0.0/16 via 10.200.0.3 dev 2 src 10.200.0.11 mtu 1400 advmss 1360 table 0x6801
			26800: fwmark 0x60/0xff lookup 0x6800 proto 104
			26801: fwmark 0x61/0xff lookup 0x6801 proto 104
			probe 10.200.0.2 mark 0x60
			probe 10.200.0.3 mark 0x61
			active 10.200.0.2`},
		"nine are one too many": {
			RouteIntent{VPNServers: addresses("10.200.0.2", "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6", "10.9.0.7", "10.9.0.8", "10.200.0.3")}, `
			probe 10.200.0.2 mark 0x0
			active 10.200.0.2
			without network.vpn_servers[1] 10.9.0.2 VPNServerNotOnLink: it is not on-link on lan0 (10.200.0.11/24)
			without network.vpn_servers[2] 10.9.0.3 VPNServerNotOnLink: it is not on-link on lan0 (10.200.0.11/24)
			without network.vpn_servers[3] 10.9.0.4 VPNServerNotOnLink: it is not on-link on lan0 (10.200.0.11/24)
			without network.vpn_servers[4] 10.9.0.5 VPNServerNotOnLink: it is not on-link on lan0 (10.200.0.11/24)
			without network.vpn_servers[5] 10.9.0.6 VPNServerNotOnLink: it is not on-link on lan0 (10.200.0.11/24)
			without network.vpn_servers[6] 10.9.0.7 VPNServerNotOnLink: it is not on-link on lan0 (10.200.0.11/24)
			without network.vpn_servers[7] 10.9.0.8 VPNServerNotOnLink: it is not on-link on lan0 (10.200.0.11/24)
			without network.vpn_servers[8] 10.200.0.3 VPNServerInvalid: a host can have 8 VPN servers at most`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inv, sel := planInput(t)
			plan, err := PlanRoutes(inv, sel, c.intent)
			must(t, err)
			if got := planText(plan); got != trimTable(c.want) {
				t.Errorf("got\n%swant\n%s", got, trimTable(c.want))
			}
		})
	}
}

func TestPlanEveryServerUnusable(t *testing.T) {
	t.Parallel()
	inv, sel := planInput(t)
	plan, err := PlanRoutes(inv, sel, RouteIntent{VPCCIDRs: prefixes("10.100.0.0/16"), VPNServers: addresses("10.9.9.9", "224.0.0.1")})
	var got []string
	for _, f := range FieldErrors(err) {
		got = append(got, f.Field+" "+f.Value+" "+f.Code)
	}
	if want := "network.vpn_servers[0] 10.9.9.9 VPNServerNotOnLink, network.vpn_servers[1] 224.0.0.1 VPNServerInvalid"; strings.Join(got, ", ") != want || planText(plan) != "" {
		t.Errorf("fields %v, plan %s", got, planText(plan))
	}
}

func TestRouteMTU(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mtu  uint32
		link int
		want [2]uint32
	}{
		{0, 1500, [2]uint32{0, 0}},
		{1446, 1500, [2]uint32{1446, 1406}}, // AWS Site-to-Site VPN's figures
		{1499, 1500, [2]uint32{1499, 1459}},
		{1500, 1500, [2]uint32{0, 0}},
		{9001, 1500, [2]uint32{0, 0}},
		{1500, 9001, [2]uint32{1500, 1460}},
		{1400, 0, [2]uint32{1400, 1360}}, // a link whose MTU is not known
		{575, 1500, [2]uint32{576, 536}},
		{1, 1500, [2]uint32{576, 536}},
		{300, 576, [2]uint32{0, 0}},
		{1 << 31, 1500, [2]uint32{0, 0}},
	} {
		if mtu, mss := routeMTU(c.mtu, Link{MTU: c.link}); mtu != c.want[0] || mss != c.want[1] {
			t.Errorf("MTU %d on a link of %d: %d, %d, want %v", c.mtu, c.link, mtu, mss, c.want)
		}
	}
}

func TestPlanTellsThatThePlaneMoves(t *testing.T) {
	t.Parallel()
	const (
		byGateway = "default via 192.168.77.1 dev 3 proto 3\n"
		byOurs    = "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11\n"
	)
	cases := map[string]struct {
		routes, cidrs, server string
		plane                 string
		want                  string
	}{
		"outside the VPC":           {byGateway, "10.100.0.0/16", "10.200.0.2", "203.0.113.10", ""},
		"inside, no way before":     {"", "10.100.0.0/16", "10.200.0.2", "10.100.0.5", "10.100.0.5 now 10.200.0.2, before none"},
		"inside, another way":       {byGateway, "10.100.0.0/16", "10.200.0.2", "10.100.0.5", "10.100.0.5 now 10.200.0.2, before 192.168.77.1"},
		"inside, the same way":      {byGateway + byOurs, "10.100.0.0/16", "10.200.0.2", "10.100.0.5", ""},
		"inside, another server":    {byGateway + byOurs, "10.100.0.0/16", "10.200.0.3", "10.100.0.5", "10.100.0.5 now 10.200.0.3, before 10.200.0.2"},
		"inside, another address":   {"10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.12\n", "10.100.0.0/16", "10.200.0.2", "10.100.0.5", "10.100.0.5 now 10.200.0.2, before 10.200.0.2"},
		"CIDR leaves, gateway":      {byGateway + byOurs, "10.101.0.0/16", "10.200.0.2", "10.100.0.5", "10.100.0.5 now 192.168.77.1, before 10.200.0.2"},
		"CIDR leaves, nothing left": {byOurs, "10.101.0.0/16", "10.200.0.2", "10.100.0.5", "10.100.0.5 now none, before 10.200.0.2, lost"},
		"no server any more":        {byOurs, "10.100.0.0/16", "", "10.100.0.5", "10.100.0.5 now none, before 10.200.0.2, lost"},
		"a longer foreign route":    {byGateway + "10.100.0.0/24 via 192.168.77.9 dev 3 proto 4\n", "10.100.0.0/16", "10.200.0.2", "10.100.0.5", ""},
		"a foreign route stays":     {"10.100.0.0/16 via 192.168.77.9 dev 3 proto 4\n", "10.100.0.0/16", "10.200.0.2", "10.100.0.5", ""},
		"IPv6":                      {byGateway, "10.100.0.0/16", "10.200.0.2", "2001:db8::1", ""},
		"IPv4 in IPv6":              {byGateway, "10.100.0.0/16", "10.200.0.2", "::ffff:10.100.0.5", "10.100.0.5 now 10.200.0.2, before 192.168.77.1"},
	}
	gateway := func(r Route) string {
		if r.Gateway.IsValid() {
			return r.Gateway.String()
		}
		return "none"
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, sel := planInput(t)
			intent := RouteIntent{VPCCIDRs: prefixes(c.cidrs), Plane: addresses(c.plane)}
			if c.server != "" {
				intent.VPNServers = addresses(c.server)
			}
			plan, err := PlanRoutes(parseInventory(t, planLinks, c.routes), sel, intent)
			must(t, err)
			got := ""
			for _, m := range plan.PlaneMoves {
				got = m.Plane.String() + " now " + gateway(m.After) + ", before " + gateway(m.Before)
				if m.Lost() {
					got += ", lost"
				}
				if !strings.Contains(m.String(), c.plane[strings.LastIndex(c.plane, ":")+1:]) {
					t.Errorf("text %q", m)
				}
			}
			if got != c.want || len(plan.PlaneMoves) > 1 {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
