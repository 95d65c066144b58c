package netcfg

import (
	"fmt"
	"strings"
	"testing"
)

const planLinks = `
1: lo device up 127.0.0.1/8
2: lan0 veth up 10.200.0.11/24
3: office0 veth up 192.168.77.11/24
4: docker0 bridge nocarrier 172.17.0.1/16
`

const planRoutes = `
default via 10.9.0.1 dev 2 proto 3
10.200.0.0/24 dev 2 proto 2 scope 253
10.55.0.1/32 dev 2 proto 3 scope 253
10.66.0.0/16 via 10.200.0.9 dev 2 proto 3
`

func planInput(t *testing.T) (Inventory, Selection) {
	t.Helper()
	inv := parseInventory(t, planLinks, planRoutes)
	link, _ := inv.LinkByName("lan0")
	return inv, Selection{Link: link, NodeIP: link.Addrs[0].Addr(), Prefix: link.Addrs[0]}
}

// planText renders a plan like `ip route`, `ip rule`, the marks of servers, and
// what was left out.
func planText(p Plan) string {
	var b strings.Builder
	for _, r := range p.Routes {
		fmt.Fprintf(&b, "%s via %s dev %d src %s", r.Dst, r.Gateway, r.LinkIndex, r.Source)
		for _, part := range []struct {
			word  string
			value uint32
		}{{"metric", r.Metric}, {"mtu", r.MTU}, {"advmss", r.AdvMSS}} {
			if part.value != 0 {
				fmt.Fprintf(&b, " %s %d", part.word, part.value)
			}
		}
		if r.OnLink {
			b.WriteString(" onlink")
		}
		if r.Table != TableMain {
			fmt.Fprintf(&b, " table %#x", r.Table)
		}
		if r.Protocol != OwnProtocol || r.Type != TypeUnicast || r.Scope != ScopeUniverse || r.TOS != 0 || r.Multipath {
			b.WriteString(" not as ours are")
		}
		b.WriteString("\n")
	}
	for _, r := range p.Rules {
		fmt.Fprintf(&b, "%d: fwmark %#x/%#x lookup %#x proto %d\n", r.Priority, r.Mark, r.Mask, r.Table, r.Protocol)
	}
	for _, s := range p.Servers {
		fmt.Fprintf(&b, "probe %s mark %#x\n", s.Server, s.Mark)
	}
	if p.Active.IsValid() {
		fmt.Fprintf(&b, "active %s\n", p.Active)
	}
	for _, u := range p.Unusable {
		fmt.Fprintf(&b, "without %s %s %s: %s\n", u.Field, u.Value, u.Code, u.Reason)
	}
	for _, m := range p.PlaneMoves {
		fmt.Fprintf(&b, "plane %s lost %v\n", m, m.Lost())
	}
	return b.String()
}

func TestPlanRoutes(t *testing.T) {
	t.Parallel()
	const oneServer = "probe 10.200.0.2 mark 0x0\nactive 10.200.0.2\n"
	cases := map[string]struct {
		vpn   string
		cidrs []string
		want  string
	}{
		"one CIDR":           {"10.200.0.2", []string{"10.100.0.0/16"}, "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11\n" + oneServer},
		"sorted and deduped": {"10.200.0.2", []string{"10.101.0.0/16", "10.100.0.0/16", "10.101.0.0/16"}, "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11\n10.101.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11\n" + oneServer},
		"on-link by a route": {"10.55.0.1", []string{"10.100.0.0/16"}, "10.100.0.0/16 via 10.55.0.1 dev 2 src 10.200.0.11\nprobe 10.55.0.1 mark 0x0\nactive 10.55.0.1\n"},
		"no VPN server":      {"", []string{"10.100.0.0/16"}, ""},
		"no VPN server and a CIDR that could not be routed": {"", []string{"10.200.0.0/24"}, ""},
		"no CIDR":                     {"10.200.0.2", nil, oneServer},
		"CIDR of a gatewayed network": {"10.200.0.2", []string{"10.66.1.0/24"}, "10.66.1.0/24 via 10.200.0.2 dev 2 src 10.200.0.11\n" + oneServer},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inv, sel := planInput(t)
			intent := RouteIntent{VPCCIDRs: prefixes(c.cidrs...)}
			if c.vpn != "" {
				intent.VPNServers = addresses(c.vpn)
			}
			plan, err := PlanRoutes(inv, sel, intent)
			must(t, err)
			if got := planText(plan); got != c.want || intent.NotRequired() != (c.vpn == "") {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			_, err = checkWanted(plan.Routes)
			must(t, err)
		})
	}
}

func TestPlanRoutesRefusals(t *testing.T) {
	t.Parallel()
	const server, cidr = FieldVPNServers + "[0]", FieldVPCCIDRs + "[0]"
	cases := []struct{ vpn, cidr, field, code, reason string }{
		{"10.9.9.9", "10.100.0.0/16", server, VPNServerNotOnLink, "it is not on-link on lan0 (10.200.0.11/24)"},
		{"192.168.77.2", "10.100.0.0/16", server, VPNServerNotOnLink, "it is not on-link on lan0 (10.200.0.11/24), but on office0 (192.168.77.11/24)"},
		{"10.66.0.1", "10.100.0.0/16", server, VPNServerNotOnLink, "it is not on-link"},
		{"10.200.0.11", "10.100.0.0/16", server, VPNServerInvalid, "this host's own address on lan0"},
		{"192.168.77.11", "10.100.0.0/16", server, VPNServerInvalid, "this host's own address on office0"},
		{"10.200.0.0", "10.100.0.0/16", server, VPNServerInvalid, "network address of 10.200.0.0/24"},
		{"10.200.0.255", "10.100.0.0/16", server, VPNServerInvalid, "broadcast address of 10.200.0.0/24"},
		{"224.0.0.5", "10.100.0.0/16", server, VPNServerInvalid, "not a unicast address"},
		{"255.255.255.255", "10.100.0.0/16", server, VPNServerInvalid, "not a unicast address"},
		{"fd00::1", "10.100.0.0/16", server, VPNServerInvalid, "not an IPv4 address"},
		{"10.200.0.2", "10.200.0.0/16", cidr, VPCCIDRCoversVPNServer, "covers the VPN server 10.200.0.2"},
		{"10.200.0.2", "10.200.0.128/25", cidr, VPCCIDRCoversOwnSubnet, "overlaps the on-link subnet 10.200.0.0/24 of lan0"},
		{"10.200.0.2", "192.168.0.0/16", cidr, VPCCIDRCoversOwnSubnet, "overlaps the on-link subnet 192.168.77.0/24 of office0"},
		{"10.200.0.2", "172.16.0.0/12", cidr, VPCCIDRCoversOwnSubnet, "overlaps the on-link subnet 172.17.0.0/16 of docker0"},
		{"10.200.0.2", "10.55.0.0/16", cidr, VPCCIDRCoversOwnSubnet, "overlaps the on-link route 10.55.0.1/32 of lan0"},
		{"10.200.0.2", "10.9.0.0/24", cidr, VPCCIDRCoversGateway, "covers the default gateway 10.9.0.1"},
		{"10.200.0.2", "0.0.0.0/0", cidr, VPCCIDRInvalid, "every destination"},
		{"10.200.0.2", "10.100.0.1/16", cidr, VPCCIDRInvalid, "host bits set (the network is 10.100.0.0/16)"},
		{"10.200.0.2", "224.0.0.0/4", cidr, VPCCIDRInvalid, "not a unicast network"},
		{"10.200.0.2", "240.0.0.0/8", cidr, VPCCIDRInvalid, "not a unicast network"},
		{"10.200.0.2", "127.0.0.0/8", cidr, VPCCIDRInvalid, "not a unicast network"},
		{"10.200.0.2", "169.254.0.0/16", cidr, VPCCIDRInvalid, "not a unicast network"},
		{"10.200.0.2", "0.0.0.0/8", cidr, VPCCIDRInvalid, "not a unicast network"},
		{"10.200.0.2", "fd00::/8", cidr, VPCCIDRInvalid, "not IPv4"},
	}
	for _, c := range cases {
		t.Run(c.vpn+" "+c.cidr, func(t *testing.T) {
			t.Parallel()
			inv, sel := planInput(t)
			plan, err := PlanRoutes(inv, sel, RouteIntent{VPCCIDRs: prefixes(c.cidr), VPNServers: addresses(c.vpn)})
			fields := FieldErrors(fmt.Errorf("wrapped: %w", err))
			if planText(plan) != "" || len(fields) != 1 {
				t.Fatalf("plan %s, error %v", planText(plan), err)
			}
			if f := fields[0]; f.Field != c.field || f.Code != c.code || !strings.Contains(f.Reason, c.reason) || f.Action == "" {
				t.Errorf("refusal %+v", *f)
			}
		})
	}
}

func TestPlanRoutesNamesEveryField(t *testing.T) {
	t.Parallel()
	inv, sel := planInput(t)
	plan, err := PlanRoutes(inv, sel, RouteIntent{
		VPNServers: addresses("10.200.0.2", "10.9.9.9"), VPCCIDRs: prefixes("10.100.0.0/16", "10.200.0.0/24", "224.0.0.0/8", "10.9.9.0/24"),
	})
	var got []string
	for _, f := range FieldErrors(err) {
		got = append(got, f.Field+" "+f.Code)
	}
	// The CIDR over the second server, too, which could not be used anyhow.
	want := "network.vpn_servers[1] VPNServerNotOnLink, network.vpc_cidrs[1] VPCCIDRCoversVPNServer, " +
		"network.vpc_cidrs[2] VPCCIDRInvalid, network.vpc_cidrs[3] VPCCIDRCoversVPNServer"
	if strings.Join(got, ", ") != want || planText(plan) != "" {
		t.Errorf("fields %v, plan %s", got, planText(plan))
	}
	if !strings.HasPrefix(err.Error(), "cannot use VPN server 10.9.9.9: it is not on-link") {
		t.Errorf("error %v", err)
	}
	if FieldErrors(nil) != nil || FieldErrors(fmt.Errorf("other")) != nil {
		t.Error("field errors from nowhere")
	}
}

func TestPlanRoutesWithoutItsNIC(t *testing.T) {
	t.Parallel()
	inv, sel := planInput(t)
	sel.Link.Index = 99
	_, err := PlanRoutes(inv, sel, RouteIntent{VPNServers: addresses("10.200.0.2"), OnLink: true})
	if fields := FieldErrors(err); len(fields) != 1 || fields[0].Code != NICGone || !strings.Contains(err.Error(), "lan0 is gone") {
		t.Errorf("error %v", err)
	}
}
