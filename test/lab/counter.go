package lab

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// countForwarded installs counters for what the VPN server forwards between the LAN and the tunnel.
func (h *Host) countForwarded(ctx context.Context) error {
	cmd := h.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(`table ip lab {
	counter to_vpc { }
	counter from_vpc { }
	chain forward {
		type filter hook forward priority 0; policy accept;
		iifname "lan0" oifname "tun0" ip daddr 10.100.0.0/16 counter name to_vpc
		iifname "tun0" oifname "lan0" ip saddr 10.100.0.0/16 counter name from_vpc
	}
}
`)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot count packets on %s: %w: %s", h.Name, err, out)
	}
	return nil
}

// Forwarded is the number of packets that the first VPN server has forwarded into the tunnel and out of it.
func (s *Site) Forwarded(ctx context.Context) (toVPC, fromVPC uint64, err error) {
	return s.ForwardedBy(ctx, "vpn")
}

// ForwardedBy is the number of packets that the VPN server on that host, vpn or vpn2, has forwarded into its tunnel and out of it.
func (s *Site) ForwardedBy(ctx context.Context, server string) (toVPC, fromVPC uint64, err error) {
	vpn := s.Host(server)
	var counts [2]uint64
	for i, name := range []string{"to_vpc", "from_vpc"} {
		out, err := vpn.Exec(ctx, "nft", "list", "counter", "ip", "lab", name)
		if err != nil {
			return 0, 0, err
		}
		match := regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(out)
		if match == nil {
			return 0, 0, fmt.Errorf("cannot read counter %s from %q", name, out)
		}
		if counts[i], err = strconv.ParseUint(match[1], 10, 64); err != nil {
			return 0, 0, err
		}
	}
	return counts[0], counts[1], nil
}
