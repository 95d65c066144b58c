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

func TestPlanRoutes(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		vpn   string
		cidrs []string
		want  string
	}{
		"one CIDR":           {"10.200.0.2", []string{"10.100.0.0/16"}, "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11\n"},
		"sorted and deduped": {"10.200.0.2", []string{"10.101.0.0/16", "10.100.0.0/16", "10.101.0.0/16"}, "10.100.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11\n10.101.0.0/16 via 10.200.0.2 dev 2 src 10.200.0.11\n"},
		"on-link by a route": {"10.55.0.1", []string{"10.100.0.0/16"}, "10.100.0.0/16 via 10.55.0.1 dev 2 src 10.200.0.11\n"},
		"no VPN server":      {"", []string{"10.100.0.0/16"}, ""},
		"no VPN server and a CIDR that could not be routed": {"", []string{"10.200.0.0/24"}, ""},
		"no CIDR":                     {"10.200.0.2", nil, ""},
		"CIDR of a gatewayed network": {"10.200.0.2", []string{"10.66.1.0/24"}, "10.66.1.0/24 via 10.200.0.2 dev 2 src 10.200.0.11\n"},
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
			if got := formatRoutes(plan.Routes); got != c.want || intent.NotRequired() != (c.vpn == "") {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			must(t, checkWanted(plan.Routes))
		})
	}
}

func TestPlanRoutesRefusals(t *testing.T) {
	t.Parallel()
	cases := []struct{ vpn, cidr, field, reason string }{
		{"10.9.9.9", "10.100.0.0/16", FieldVPNServers, "it is not on-link on lan0 (10.200.0.11/24)"},
		{"192.168.77.2", "10.100.0.0/16", FieldVPNServers, "it is not on-link on lan0"},
		{"10.66.0.1", "10.100.0.0/16", FieldVPNServers, "it is not on-link"},
		{"10.200.0.11", "10.100.0.0/16", FieldVPNServers, "this host's own address on lan0"},
		{"192.168.77.11", "10.100.0.0/16", FieldVPNServers, "this host's own address on office0"},
		{"10.200.0.0", "10.100.0.0/16", FieldVPNServers, "network address of 10.200.0.0/24"},
		{"10.200.0.255", "10.100.0.0/16", FieldVPNServers, "broadcast address of 10.200.0.0/24"},
		{"224.0.0.5", "10.100.0.0/16", FieldVPNServers, "not a unicast address"},
		{"fd00::1", "10.100.0.0/16", FieldVPNServers, "not an IPv4 address"},
		{"10.200.0.2", "10.200.0.0/16", FieldVPCCIDRs + "[0]", "covers the VPN server 10.200.0.2"},
		{"10.200.0.2", "10.200.0.128/25", FieldVPCCIDRs + "[0]", "overlaps the on-link subnet 10.200.0.0/24 of lan0"},
		{"10.200.0.2", "192.168.0.0/16", FieldVPCCIDRs + "[0]", "overlaps the on-link subnet 192.168.77.0/24 of office0"},
		{"10.200.0.2", "172.16.0.0/12", FieldVPCCIDRs + "[0]", "overlaps the on-link subnet 172.17.0.0/16 of docker0"},
		{"10.200.0.2", "10.55.0.0/16", FieldVPCCIDRs + "[0]", "overlaps the on-link route 10.55.0.1/32 of lan0"},
		{"10.200.0.2", "10.9.0.0/24", FieldVPCCIDRs + "[0]", "covers the default gateway 10.9.0.1"},
		{"10.200.0.2", "0.0.0.0/0", FieldVPCCIDRs + "[0]", "every destination"},
		{"10.200.0.2", "10.100.0.1/16", FieldVPCCIDRs + "[0]", "host bits set (the network is 10.100.0.0/16)"},
		{"10.200.0.2", "224.0.0.0/4", FieldVPCCIDRs + "[0]", "not a unicast network"},
		{"10.200.0.2", "240.0.0.0/8", FieldVPCCIDRs + "[0]", "not a unicast network"},
		{"10.200.0.2", "127.0.0.0/8", FieldVPCCIDRs + "[0]", "not a unicast network"},
		{"10.200.0.2", "169.254.0.0/16", FieldVPCCIDRs + "[0]", "not a unicast network"},
		{"10.200.0.2", "0.0.0.0/8", FieldVPCCIDRs + "[0]", "not a unicast network"},
		{"10.200.0.2", "fd00::/8", FieldVPCCIDRs + "[0]", "not IPv4"},
	}
	for _, c := range cases {
		t.Run(c.vpn+" "+c.cidr, func(t *testing.T) {
			t.Parallel()
			inv, sel := planInput(t)
			plan, err := PlanRoutes(inv, sel, RouteIntent{VPCCIDRs: prefixes(c.cidr), VPNServers: addresses(c.vpn)})
			fields := FieldErrors(fmt.Errorf("wrapped: %w", err))
			if len(plan.Routes) > 0 || len(fields) != 1 {
				t.Fatalf("routes %v, error %v", plan.Routes, err)
			}
			if f := fields[0]; f.Field != c.field || !strings.Contains(f.Reason, c.reason) || f.Action == "" {
				t.Errorf("refusal %+v", *f)
			}
		})
	}
}

func TestPlanRoutesNamesEveryField(t *testing.T) {
	t.Parallel()
	inv, sel := planInput(t)
	plan, err := PlanRoutes(inv, sel, RouteIntent{
		VPNServers: addresses("10.9.9.9"), VPCCIDRs: prefixes("10.100.0.0/16", "10.200.0.0/24", "224.0.0.0/8"),
	})
	var got []string
	for _, f := range FieldErrors(err) {
		got = append(got, f.Field)
	}
	want := "network.vpn_servers network.vpc_cidrs[1] network.vpc_cidrs[2]"
	if strings.Join(got, " ") != want || plan.Routes != nil {
		t.Errorf("fields %v, routes %v", got, plan.Routes)
	}
	if FieldErrors(nil) != nil || FieldErrors(fmt.Errorf("other")) != nil {
		t.Error("field errors from nowhere")
	}
}

func TestPlanRoutesWithoutItsNIC(t *testing.T) {
	t.Parallel()
	inv, sel := planInput(t)
	sel.Link.Index = 99
	if _, err := PlanRoutes(inv, sel, RouteIntent{VPNServers: addresses("10.200.0.2")}); err == nil || !strings.Contains(err.Error(), "lan0 is gone") {
		t.Errorf("error %v", err)
	}
}
