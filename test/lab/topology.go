package lab

import (
	"context"
	"fmt"
)

// Addresses of the site; see the table in topology.go for who has which.
const (
	VPNServer    = "10.200.0.2"
	StandbyVPN   = "10.200.0.3"
	PlaneAddress = "203.0.113.10"
	NTPAddress   = "203.0.113.20"
	VPCCIDR      = "10.100.0.0/16"
	VPCGateway   = "10.100.0.1"
	EKSEndpoint  = "10.100.0.10"
	AWSServices  = "10.100.0.20"
	LANGateway   = "10.200.0.1"
	LANCIDR      = "10.200.0.0/24"
)

// LANAddress is the address of the nth edge host (from 1) in the site's LAN, on its NIC lan0: the one that can reach the VPC.
func LANAddress(n int) string { return fmt.Sprintf("10.200.0.%d", 10+n) }

// LANMAC is the hardware address of the NIC lan0 of the nth edge host.
func LANMAC(n int) string { return fmt.Sprintf("02:00:0a:c8:00:%02x", 10+n) }

// OfficeAddress is the address of the nth edge host (from 1) in the other network, on its NIC office0, which holds the better default route.
func OfficeAddress(n int) string { return fmt.Sprintf("192.168.77.%d", 10+n) }

// fabric is the namespace that holds the switches (bridges); no program runs there.
const fabric = "fabric"

// topology is the list of hosts, each with its wires and the ip(8) commands of its own network.
type topology struct{ hosts []netHost }

type netHost struct {
	name    string
	wires   []wire
	ip      []string
	sysctls [][2]string
}

// wire connects the NIC nic of a host with the switch of that name.
type wire struct{ lan, nic, mac string }

// newTopology is the site's table:
//
//	gw      lan0 10.200.0.1, office0 192.168.77.1, wan0 203.0.113.1; forwards between all three, has no way to the VPC
//	plane   wan0 203.0.113.10
//	ntp     wan0 203.0.113.20
//	vpn     lan0 10.200.0.2, tun0 169.254.100.1 (vxlan over under0); routes 10.100.0.0/16 into the tunnel
//	vpn2    lan0 10.200.0.3, tun0 169.254.101.1: a second VPN server with a tunnel of its own; see standby.go
//	vpc     tun0 169.254.100.2, tun1 169.254.101.2, lo 10.100.0.1 .10 .20; answers through the tunnel that was asked through
//	edge-N  lan0 10.200.0.1N metric 200, office0 192.168.77.1N metric 50, docker0 172.17.0.1
func newTopology(edges int) topology {
	router := [][2]string{{"ipv4/ip_forward", "1"}}
	hosts := []netHost{
		{name: fabric},
		{name: "gw", sysctls: router,
			wires: []wire{{lan: "lan", nic: "lan0"}, {lan: "office", nic: "office0"}, {lan: "wan", nic: "wan0"}},
			ip: []string{"address add 10.200.0.1/24 dev lan0", "address add 192.168.77.1/24 dev office0", "address add 203.0.113.1/24 dev wan0",
				"link set lan0 up", "link set office0 up", "link set wan0 up", "route add blackhole " + VPCCIDR}},
		wanHost("plane", PlaneAddress),
		wanHost("ntp", NTPAddress),
		{name: "vpn", sysctls: router, wires: []wire{{lan: "lan", nic: "lan0"}, {lan: "under", nic: "under0"}},
			ip: append(tunnelEnd(1), "address add 10.200.0.2/24 dev lan0", "link set lan0 up",
				"route add "+VPCCIDR+" via 169.254.100.2 dev tun0", "route add default via 10.200.0.1")},
		standbyHost(router),
		{name: "vpc", wires: []wire{{lan: "under", nic: "under0"}},
			ip: append(append(tunnelEnd(2), "address add 10.100.0.1/32 dev lo", "address add 10.100.0.10/32 dev lo", "address add 10.100.0.20/32 dev lo",
				"route add "+LANCIDR+" via 169.254.100.1 dev tun0 src 10.100.0.1"), standbyInVPC()...)},
	}
	for n := 1; n <= edges; n++ {
		hosts = append(hosts, edgeHost(n))
	}
	return topology{hosts: hosts}
}

func wanHost(name, address string) netHost {
	return netHost{name: name, wires: []wire{{lan: "wan", nic: "wan0"}},
		ip: []string{"address add " + address + "/24 dev wan0", "link set wan0 up", "route add default via 203.0.113.1"}}
}

// tunnelEnd is one end of the VPN's tunnel, over a network of its own.
func tunnelEnd(side int) []string {
	other := 3 - side
	return []string{
		fmt.Sprintf("address add 198.51.100.%d/30 dev under0", side),
		"link set under0 up",
		fmt.Sprintf("link add tun0 type vxlan id 100 local 198.51.100.%d remote 198.51.100.%d dstport 4789", side, other),
		fmt.Sprintf("address add 169.254.100.%d/30 dev tun0", side),
		"link set tun0 up",
	}
}

func edgeHost(n int) netHost {
	return netHost{
		name: EdgeName(n),
		wires: []wire{
			{lan: "lan", nic: "lan0", mac: LANMAC(n)},
			{lan: "office", nic: "office0", mac: fmt.Sprintf("02:00:c0:a8:4d:%02x", 10+n)},
		},
		ip: EdgeNetwork(n),
		sysctls: [][2]string{
			{"ipv4/ping_group_range", "0 2147483647"},
			{"ipv4/conf/all/rp_filter", "2"},
			{"ipv4/conf/default/rp_filter", "2"},
		},
	}
}

// EdgeNetwork are the ip(8) commands that configure the NICs of the nth edge host, as the host's own network configuration would at boot.
func EdgeNetwork(n int) []string {
	return []string{
		fmt.Sprintf("address add %s/24 dev lan0", LANAddress(n)),
		fmt.Sprintf("address add %s/24 dev office0", OfficeAddress(n)),
		"link set lan0 up",
		"link set office0 up",
		"route add default via 10.200.0.1 dev lan0 metric 200",
		"route add default via 192.168.77.1 dev office0 metric 50",
		"link add docker0 type bridge",
		"address add 172.17.0.1/16 dev docker0",
		"link set docker0 up",
	}
}

func (t topology) netNames() []string {
	names := make([]string, len(t.hosts))
	for i, h := range t.hosts {
		names[i] = h.name
	}
	return names
}

// apply makes switches and wires, then configures each host.
func (t topology) apply(ctx context.Context, s *Site) error {
	for _, h := range t.hosts[1:] {
		if err := h.setSysctls(s.hosts[h.name]); err != nil {
			return err
		}
	}
	lines := []string{"link set lo up"}
	for _, lan := range []string{"lan", "office", "wan", "under"} {
		lines = append(lines, "link add "+lan+" type bridge", "link set "+lan+" up")
	}
	for _, h := range t.hosts {
		for _, w := range h.wires {
			port := w.lan + "-" + h.name
			mac := ""
			if w.mac != "" {
				mac = " address " + w.mac
			}
			lines = append(lines,
				fmt.Sprintf("link add %s type veth peer name %s%s netns %s", port, w.nic, mac, h.name),
				fmt.Sprintf("link set %s master %s up", port, w.lan))
		}
	}
	if err := s.hosts[fabric].IP(ctx, lines...); err != nil {
		return err
	}
	for _, h := range t.hosts[1:] {
		if err := s.hosts[h.name].IP(ctx, append([]string{"link set lo up"}, h.ip...)...); err != nil {
			return err
		}
	}
	for _, vpn := range []string{"vpn", "vpn2"} {
		if err := s.hosts[vpn].countForwarded(ctx); err != nil {
			return err
		}
	}
	return s.hosts["vpc"].answerThroughSameTunnel(ctx)
}

// setSysctls runs before the NICs are there: they start with the namespace's defaults, which in turn start as the machine's own.
func (h netHost) setSysctls(host *Host) error {
	common := [][2]string{{"ipv4/ip_forward", "0"}, {"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"}}
	for _, pair := range append(common, h.sysctls...) {
		if err := host.Sysctl(pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}
