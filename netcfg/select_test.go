package netcfg

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// A demo host: the right NIC, a second one with the better default route, a
// docker bridge with a container, a pod.
const (
	siteLinks = `
1: lo device up 127.0.0.1/8
2: lan0 veth up 10.200.0.11/24 mac 02:00:00:00:00:0b alt enp1s0
3: office0 veth up 192.168.77.11/24 mac 02:00:00:00:00:0c
4: docker0 bridge up 172.17.0.1/16
5: veth1a2b3c veth up master 4
`
	siteRoutes = `
default via 192.168.77.1 dev 3 proto 3 metric 50
default via 10.200.0.1 dev 2 proto 3 metric 200
10.200.0.0/24 dev 2 proto 2 scope 253
192.168.77.0/24 dev 3 proto 2 scope 253
`
	twoNICs = `
2: eth0 device up 10.200.0.11/24 mac 02:00:00:00:00:01
3: eth1 device up 10.200.1.11/24 mac 02:00:00:00:00:02
`
	oneNIC = "2: eth0 device up 10.200.0.11/24\n"
)

type selectCase struct {
	links, routes             string
	name, mac, sticky         string
	vpn, cidrs, toward        []string
	want, wantIP, wantReason  string // wantReason: part of the selection's reason
	rejected, rejectedBecause string // a candidate and part of its reasons
	refused                   string // part of the error
}

func selectCases() map[string]selectCase {
	cidr := []string{"10.200.0.0/16"}
	return map[string]selectCase{
		"demo site, auto": {
			links: siteLinks, routes: siteRoutes, cidrs: cidr, vpn: []string{"10.200.0.2"}, want: "lan0", wantIP: "10.200.0.11",
			wantReason: "VPN server 10.200.0.2 is on-link", rejected: "office0", rejectedBecause: "outside the remote node CIDRs",
		},
		"demo site by name":       {links: siteLinks, routes: siteRoutes, cidrs: cidr, name: "lan0", want: "lan0", wantIP: "10.200.0.11", wantReason: "named by lan0"},
		"by altname":              {links: siteLinks, cidrs: cidr, name: "enp1s0", want: "lan0", wantIP: "10.200.0.11"},
		"by MAC":                  {links: siteLinks, cidrs: cidr, mac: "02-00-00-00-00-0B", want: "lan0", wantIP: "10.200.0.11"},
		"named, outside CIDRs":    {links: siteLinks, cidrs: cidr, name: "office0", refused: "cannot use NIC office0: no address inside the remote node CIDRs 10.200.0.0/16"},
		"unknown name":            {links: siteLinks, cidrs: cidr, name: "eth9", refused: "no link on this host has that name; set the host's NIC to one of the candidates"},
		"unknown name lists":      {links: siteLinks, cidrs: cidr, name: "eth9", refused: "lan0 (10.200.0.11/24) is not eth9"},
		"unknown MAC":             {links: siteLinks, cidrs: cidr, mac: "02:00:00:00:00:ff", refused: "no link on this host has that MAC address"},
		"named and down":          {links: "2: eth0 device down 10.200.0.11/24", cidrs: cidr, name: "eth0", refused: "eth0 (10.200.0.11/24) is down"},
		"named without address":   {links: "2: eth0 device up", cidrs: cidr, name: "eth0", refused: "eth0 (no IPv4 address) has no global unicast IPv4 address"},
		"named container link":    {links: siteLinks, cidrs: []string{"172.17.0.0/16"}, name: "docker0", want: "docker0", wantIP: "172.17.0.1"},
		"named loopback":          {links: "1: lo device up 10.200.9.9/32", cidrs: cidr, name: "lo", refused: "cannot use NIC lo: the link is the loopback; set the host's NIC to another candidate"},
		"no links at all":         {refused: "candidates: none"},
		"VPN server beats metric": {links: twoNICs, routes: "default via 10.200.0.1 dev 2\n", cidrs: cidr, vpn: []string{"10.200.1.2"}, want: "eth1", wantIP: "10.200.1.11"},
		"second VPN server":       {links: twoNICs, cidrs: cidr, vpn: []string{"10.9.9.9", "10.200.1.2"}, want: "eth1", wantIP: "10.200.1.11"},
		"route towards API beats metric": {
			links: twoNICs, routes: "default via 10.200.0.1 dev 2\n10.100.0.0/16 via 10.200.1.1 dev 3 proto 3\n",
			cidrs: cidr, toward: []string{"10.100.0.10"}, want: "eth1", wantIP: "10.200.1.11", wantReason: "inside the remote node CIDR",
		},
		"lowest metric":         {links: twoNICs, routes: "default via 10.200.0.1 dev 2 metric 200\ndefault via 10.200.1.1 dev 3 metric 100\n", cidrs: cidr, want: "eth1", wantIP: "10.200.1.11"},
		"default beats none":    {links: twoNICs, routes: "default via 10.200.1.1 dev 3 metric 900\n", cidrs: cidr, want: "eth1", wantIP: "10.200.1.11"},
		"lowest index":          {links: twoNICs, cidrs: cidr, want: "eth0", wantIP: "10.200.0.11", rejected: "eth1", rejectedBecause: "ranked below eth0"},
		"sticky wins":           {links: twoNICs, routes: "default via 10.200.0.1 dev 2\n", cidrs: cidr, sticky: "eth1", want: "eth1", wantIP: "10.200.1.11", wantReason: "selected before and still valid"},
		"sticky and best":       {links: twoNICs, routes: "default via 10.200.0.1 dev 2\n", cidrs: cidr, sticky: "eth0", want: "eth0", wantIP: "10.200.0.11", wantReason: "10.200.0.11 is inside the remote node CIDR 10.200.0.0/16"},
		"sticky without cable":  {links: "2: eth0 device up 10.200.0.11/24\n3: eth1 device nocarrier 10.200.1.11/24\n", cidrs: cidr, sticky: "eth1", want: "eth1", wantIP: "10.200.1.11"},
		"sticky but down":       {links: "2: eth0 device up 10.200.0.11/24\n3: eth1 device down 10.200.1.11/24\n", cidrs: cidr, sticky: "eth1", want: "eth0", wantIP: "10.200.0.11"},
		"sticky outside CIDRs":  {links: siteLinks, cidrs: cidr, sticky: "office0", want: "lan0", wantIP: "10.200.0.11"},
		"no carrier":            {links: "2: eth0 device nocarrier 10.200.0.11/24\n3: eth1 device up 10.200.1.11/24\n", cidrs: cidr, want: "eth1", wantIP: "10.200.1.11", rejected: "eth0", rejectedBecause: "has no carrier"},
		"no CIDRs given":        {links: siteLinks, routes: siteRoutes, want: "office0", wantIP: "192.168.77.11"},
		"address inside CIDR":   {links: "2: eth0 device up 192.168.1.5/24 10.200.0.11/24\n", cidrs: cidr, want: "eth0", wantIP: "10.200.0.11"},
		"address beside VPN":    {links: "2: eth0 device up 10.200.5.5/24 10.200.0.11/24\n", cidrs: cidr, vpn: []string{"10.200.0.2"}, want: "eth0", wantIP: "10.200.0.11"},
		"link-local only":       {links: "2: eth0 device up 169.254.3.4/16\n", refused: "has no global unicast IPv4 address"},
		"bridge with the NIC":   {links: "2: eth0 device up master 3\n3: br0 bridge up 10.200.0.11/24\n", cidrs: cidr, want: "br0", wantIP: "10.200.0.11", rejected: "eth0", rejectedBecause: "is enslaved to br0"},
		"bond":                  {links: "2: eth0 device up master 4\n3: eth1 device up master 4\n4: bond0 bond up 10.200.0.11/24\n", cidrs: cidr, want: "bond0", wantIP: "10.200.0.11"},
		"MAC shared with VLAN":  {links: "2: eth0 device up 192.168.1.5/24 mac 02:00:00:00:00:01\n3: eth0.5 vlan up 10.200.0.11/24 mac 02:00:00:00:00:01\n", cidrs: cidr, mac: "02:00:00:00:00:01", want: "eth0.5", wantIP: "10.200.0.11"},
		"container bridge":      {links: oneNIC + "3: mynet bridge up 10.200.9.1/24\n4: vethA veth up master 3\n", cidrs: cidr, sticky: "mynet", want: "eth0", wantIP: "10.200.0.11", rejected: "mynet", rejectedBecause: "only container ports"},
		"docker network":        {links: oneNIC + "3: br-0123456789ab bridge up 10.200.9.1/24\n", cidrs: cidr, sticky: "br-0123456789ab", want: "eth0", wantIP: "10.200.0.11", rejected: "br-0123456789ab", rejectedBecause: "docker network"},
		"br-lan is a host's":    {links: "2: eth0 device up master 3\n3: br-lan bridge up 10.200.0.11/24\n", cidrs: cidr, want: "br-lan", wantIP: "10.200.0.11"},
		"pod's veth, no subnet": {links: oneNIC + "3: eni0a1 veth up 10.200.9.9/32\n", cidrs: cidr, sticky: "eni0a1", want: "eth0", wantIP: "10.200.0.11", rejected: "eni0a1", rejectedBecause: "a veth without a subnet of its own"},
		"nested host's veth":    {links: "2: host0 veth up 10.200.0.11/24\n", cidrs: cidr, want: "host0", wantIP: "10.200.0.11"},
		"cilium":                {links: oneNIC + "3: cilium_host veth up 10.200.9.1/24\n", cidrs: cidr, sticky: "cilium_host", want: "eth0", wantIP: "10.200.0.11", rejected: "cilium_host", rejectedBecause: "container-owned"},
		"flannel and libvirt":   {links: "2: flannel.1 vxlan up 10.200.1.0/24\n3: virbr0 bridge up 10.200.2.1/24\n", cidrs: cidr, refused: "flannel.1 (10.200.1.0/24) is container-owned"},
		"WireGuard":             {links: oneNIC + "3: wg0 wireguard up 10.200.9.2/24\n", cidrs: cidr, vpn: []string{"10.200.9.1"}, want: "eth0", wantIP: "10.200.0.11", rejected: "wg0", rejectedBecause: "is a tunnel"},
		"tailscale tun":         {links: oneNIC + "3: tailscale0 tuntap up 10.200.9.2/24\n", cidrs: cidr, want: "eth0", wantIP: "10.200.0.11", rejected: "tailscale0", rejectedBecause: "is a tunnel"},
		"dummy":                 {links: "2: dummy0 dummy up 10.200.0.11/24\n", cidrs: cidr, refused: "is no NIC (dummy)"},
	}
}

func TestSelectNIC(t *testing.T) {
	t.Parallel()
	for name, c := range selectCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inv := parseInventory(t, c.links, c.routes)
			sel, cands, err := SelectNIC(inv, SelectionInput{
				Selector: Selector{Auto: c.name == "" && c.mac == "", Name: c.name, MAC: c.mac}, Sticky: Remembered{Name: c.sticky},
				VPNServers: addresses(c.vpn...), RemoteNodeCIDRs: prefixes(c.cidrs...), Toward: addresses(c.toward...),
			})
			checkCandidates(t, inv, cands, err)
			if c.refused != "" {
				checkRefusal(t, err, c.refused)
				return
			}
			must(t, err)
			if sel.Link.Name != c.want || sel.NodeIP.String() != c.wantIP || sel.Prefix.Addr() != sel.NodeIP || !strings.Contains(sel.Reason, c.wantReason) {
				t.Errorf("selected %s %s (%s) because %q", sel.Link.Name, sel.NodeIP, sel.Prefix, sel.Reason)
			}
			if i := slices.IndexFunc(cands, func(x Candidate) bool { return x.Link.Name == c.rejected }); c.rejected != "" && !strings.Contains(cands[i].String(), c.rejectedBecause) {
				t.Errorf("candidate %s", cands[i])
			}
		})
	}
}

// checkCandidates holds for every selection: all links are there with a reason,
// and one is selected unless there is an error.
func checkCandidates(t *testing.T, inv Inventory, cands []Candidate, err error) {
	t.Helper()
	selected := 0
	for i, c := range cands {
		if len(c.Reasons) == 0 {
			t.Errorf("%s has no reason", c.Link.Name)
		}
		if c.Selected {
			selected++
			if i != 0 || !c.Accepted || !c.NodeIP.IsValid() {
				t.Errorf("selected candidate %+v at %d", c, i)
			}
		}
	}
	if len(cands) != len(inv.Links) || (selected == 1) != (err == nil) {
		t.Errorf("%d candidates for %d links, %d selected, error %v", len(cands), len(inv.Links), selected, err)
	}
}

func checkRefusal(t *testing.T, err error, part string) {
	t.Helper()
	var se *SelectionError
	var fe *FieldError
	if !errors.As(err, &se) || !errors.As(err, &fe) || fe.Field != FieldNIC || fe.Action == "" {
		t.Fatalf("error %v", err)
	}
	if !strings.Contains(err.Error(), part) {
		t.Errorf("error %q lacks %q", err, part)
	}
	if se.Code() == "" || se.Meant.Code != se.Code() {
		t.Errorf("code %q, meant %v with %q", se.Code(), se.Meant, se.Meant.Code)
	}
	for _, c := range se.Candidates {
		if !strings.Contains(err.Error(), c.String()) {
			t.Errorf("error does not name candidate %s", c)
		}
	}
}
