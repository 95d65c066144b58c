//go:build systemd

package systemd

import (
	"net/netip"
	"testing"

	"hybridagent/test/lab"
)

// ownProtocol is the route protocol by which the daemon knows its routes.
const ownProtocol = 104

func vpcPrefix() netip.Prefix { return netip.MustParsePrefix(lab.VPCCIDR) }

// TestNeighbours runs the packaged daemon beside those who manage NICs on real hosts: whatever they do, the route to the VPC comes back.
func TestNeighbours(t *testing.T) {
	runNeighbours(t, []neighbour{
		{name: "networkd 257", suite: newSystemd, configure: (*world).networkdStatic, check: func(w *world) { w.networkdNeighbour(newSystemd) }},
		{name: "networkd 252", suite: oldSystemd, configure: (*world).networkdStatic, check: func(w *world) { w.networkdNeighbour(oldSystemd) }},
		{name: "networkd 257 by DHCP", suite: newSystemd, bare: true, configure: (*world).networkdDHCP, check: (*world).dhcpNeighbour},
		{name: "networkd 252 by DHCP", suite: oldSystemd, configure: (*world).networkdDHCP, check: (*world).dhcpNeighbour},
		{name: "NetworkManager", suite: newSystemd, packages: []string{networkManager}, configure: (*world).nmDHCP, check: (*world).nmNeighbour},
	})
}
