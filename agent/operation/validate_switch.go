package operation

import (
	"net/netip"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxVPNServers bounds NetworkSwitch.vpn_servers.
const maxVPNServers = 8

// validateSwitch checks what a live network switch carries.
func validateSwitch(op *agentv1.Operation) error {
	servers := op.GetNetworkSwitch().GetVpnServers()
	if len(servers) == 0 || len(servers) > maxVPNServers {
		return Refuse(malformed, "operation %s names %d VPN servers, not 1 to %d", op.GetId(), len(servers), maxVPNServers)
	}
	seen := map[netip.Addr]bool{}
	for _, text := range servers {
		addr, err := netip.ParseAddr(text)
		if err != nil || !addr.Is4() || addr.IsMulticast() || addr.IsUnspecified() || addr.IsLoopback() {
			return Refuse(malformed, "operation %s names the VPN server %q, which is no IPv4 unicast address", op.GetId(), clipped(text, 64))
		}
		if seen[addr] {
			return Refuse(malformed, "operation %s names the VPN server %s twice", op.GetId(), addr)
		}
		seen[addr] = true
	}
	return nil
}
