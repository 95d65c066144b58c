package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Faults of a site's network. Each one returns what undoes it.

// Mend undoes a fault.
type Mend func(ctx context.Context) error

// Unplug pulls a host's cable out of a switch (lan, office, wan or under): the host sees its carrier go, the others see nothing of it any more.
func (s *Site) Unplug(ctx context.Context, host, lan string) (Mend, error) {
	port := lan + "-" + host
	plug := func(ctx context.Context) error { return s.hosts[fabric].IP(ctx, "link set "+port+" up") }
	return plug, s.hosts[fabric].IP(ctx, "link set "+port+" down")
}

// PowerOffVPN takes a VPN server, vpn or vpn2, off both of its networks: it does not even answer ARP.
func (s *Site) PowerOffVPN(ctx context.Context, server string) (Mend, error) {
	lan, errLAN := s.Unplug(ctx, server, "lan")
	under, errUnder := s.Unplug(ctx, server, "under")
	on := func(ctx context.Context) error { return errors.Join(lan(ctx), under(ctx)) }
	return on, errors.Join(errLAN, errUnder)
}

// CutTunnel lets whatever a VPN server, vpn or vpn2, would forward into its tunnel or out of it vanish; the server itself answers as before.
func (s *Site) CutTunnel(ctx context.Context, server string) (Mend, error) {
	return s.hosts[server].filter(ctx, "cut", `iifname "tun0" drop
		oifname "tun0" drop`, "")
}

// NarrowTunnel lets packets of more than mtu bytes vanish in a VPN server's tunnel, both ways, without a word to their senders. From then on
// edge hosts and VPC cut what they send into packets themselves: a virtual NIC would pass it on in one piece, however long.
func (s *Site) NarrowTunnel(ctx context.Context, server string, mtu int) (Mend, error) {
	errs := []error{s.hosts["vpc"].IP(ctx, "link set tun0 gso_max_segs 1", "link set tun1 gso_max_segs 1")}
	for name, host := range s.hosts {
		if strings.HasPrefix(name, "edge-") {
			errs = append(errs, host.IP(ctx, "link set lan0 gso_max_segs 1"))
		}
	}
	tunnel := map[string]string{"vpn": "tun0", "vpn2": "tun1"}[server]
	there, err := s.hosts[server].filter(ctx, "narrow", fmt.Sprintf(`oifname "tun0" ip length > %d drop`, mtu), "icmp type destination-unreachable icmp code 4 drop")
	errs = append(errs, err)
	back, err := s.hosts["vpc"].filter(ctx, "narrow_"+tunnel, "", fmt.Sprintf("oifname %q ip length > %d drop", tunnel, mtu))
	mend := func(ctx context.Context) error { return errors.Join(there(ctx), back(ctx)) }
	return mend, errors.Join(append(errs, err)...)
}

// BlockPlane lets whatever goes to the plane vanish at the site's router.
func (s *Site) BlockPlane(ctx context.Context) (Mend, error) {
	return s.hosts["gw"].filter(ctx, "plane", "ip daddr "+PlaneAddress+" drop\n\t\tip saddr "+PlaneAddress+" drop", "")
}

// RefuseNewToPlane lets new connections to the plane vanish at the site's router; those that are open stay.
func (s *Site) RefuseNewToPlane(ctx context.Context) (Mend, error) {
	return s.hosts["gw"].filter(ctx, "plane_new", "ip daddr "+PlaneAddress+" tcp flags & (syn | ack) == syn drop", "")
}

// filter adds rules to what the host forwards and to what it says itself, in a table of their own.
func (h *Host) filter(ctx context.Context, table, forward, output string) (Mend, error) {
	mend := func(ctx context.Context) error { return h.NFT(ctx, "delete table ip fault_"+table+"\n") }
	return mend, h.NFT(ctx, fmt.Sprintf(`table ip fault_%s {
	chain forward {
		type filter hook forward priority -10; policy accept;
		%s
	}
	chain output {
		type filter hook output priority -10; policy accept;
		%s
	}
}
`, table, forward, output))
}

// RemoveNIC takes a NIC out of a host for good, with its addresses and routes.
func (s *Site) RemoveNIC(ctx context.Context, host, lan string) error {
	return s.hosts[fabric].IP(ctx, "link delete "+lan+"-"+host)
}

// InsertNIC puts a NIC of that hardware address into a host, with no address and down, as the kernel finds it; RemoveNIC came before.
func (s *Site) InsertNIC(ctx context.Context, host, lan, name, mac string) error {
	port := lan + "-" + host
	return s.hosts[fabric].IP(ctx,
		fmt.Sprintf("link add %s type veth peer name %s address %s netns %s", port, name, mac, host),
		fmt.Sprintf("link set %s master %s up", port, lan))
}
