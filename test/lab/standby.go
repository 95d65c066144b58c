package lab

import (
	"context"
	"fmt"
	"strings"
)

// standbyHost is the second VPN server: a host of its own with a tunnel of its own to the same VPC.
func standbyHost(router [][2]string) netHost {
	return netHost{name: "vpn2", sysctls: router, wires: []wire{{lan: "lan", nic: "lan0"}, {lan: "under", nic: "under0"}},
		ip: []string{
			"address add 198.51.100.5/30 dev under0", "link set under0 up",
			"link add tun0 type vxlan id 101 local 198.51.100.5 remote 198.51.100.6 dstport 4789",
			"address add 169.254.101.1/30 dev tun0", "link set tun0 up",
			"address add " + StandbyVPN + "/24 dev lan0", "link set lan0 up",
			"route add " + VPCCIDR + " via 169.254.101.2 dev tun0", "route add default via 10.200.0.1",
		}}
}

// standbyInVPC is the second tunnel's other end, and the way back through it for what came in by it.
func standbyInVPC() []string {
	return []string{
		"address add 198.51.100.6/30 dev under0",
		"link add tun1 type vxlan id 101 local 198.51.100.6 remote 198.51.100.5 dstport 4789",
		"address add 169.254.101.2/30 dev tun1", "link set tun1 up",
		"route add " + LANCIDR + " via 169.254.101.1 dev tun1 src 10.100.0.1 table 101",
		"rule add fwmark 101 lookup 101",
	}
}

// answerThroughSameTunnel lets the VPC answer through the tunnel by which a connection's last packet came, as a VPN gateway with two
// tunnels does: a reply through the other one would vanish with it.
func (h *Host) answerThroughSameTunnel(ctx context.Context) error {
	return h.NFT(ctx, `table ip tunnels {
	chain arrive {
		type filter hook prerouting priority -150; policy accept;
		iifname "tun0" ct mark set 100
		iifname "tun1" ct mark set 101
	}
	chain answer {
		type route hook output priority -150; policy accept;
		ct mark != 0 meta mark set ct mark
	}
}
`)
}

// NFT runs an nft(8) script in the host's network.
func (h *Host) NFT(ctx context.Context, script string) error {
	cmd := h.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot filter packets on %s: %w: %s", h.Name, err, out)
	}
	return nil
}
