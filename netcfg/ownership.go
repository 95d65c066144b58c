package netcfg

import (
	"net/netip"
	"slices"
	"strings"
)

// Links that container runtimes, CNIs and hypervisors make, by name. Matched
// against the start of the name.
func containerPrefixes() []string {
	return []string{
		"veth", "cni", "cilium_", "lxc", "flannel", "docker", "virbr", "vnet", "cali", "podman", "nerdctl",
		"weave", "kube-", "nodelocaldns", "antrea-", "ovn-k8s-", "ovs-system", "incusbr", "lxdbr", "waydroid", "cbr0",
		"vmnet", "vboxnet", "mpqemubr", "azv",
	}
}

// tunnelKinds are link kinds that carry a VPN or an overlay.
func tunnelKinds() []string {
	return []string{
		"tun", "tuntap", "wireguard", "vxlan", "geneve", "gre", "gretap", "ip6gre", "ipip", "ip6tnl",
		"sit", "vti", "vti6", "xfrm", "ppp", "amt", "bareudp", "ovpn", "ovpn-dco", "gtp",
	}
}

func tunnelPrefixes() []string {
	return []string{"tun", "tap", "wg", "ppp", "tailscale", "zt", "nebula", "ipsec", "utun"}
}

// isDockerBridge knows the names of bridges that Docker makes for users' networks:
// br- and twelve hexadecimal digits.
func isDockerBridge(name string) bool {
	digits, ok := strings.CutPrefix(name, "br-")
	return ok && len(digits) == 12 && strings.Trim(digits, "0123456789abcdef") == ""
}

// notForAuto says why auto selection must not pick the link: it belongs to a
// container runtime, is a tunnel, or is no NIC at all. "" means that it may.
//
// A veth alone proves nothing: a nested host (a container with systemd, a host in
// a network namespace) sees its own NIC as one end of a veth pair. So a veth is
// the host's NIC when it carries a global address with a subnet of its own and is
// not enslaved; it belongs to a container when it is enslaved, has no global
// address or only a /32 (the host's end of a pod's pair), or has a name that
// runtimes give. A bridge belongs to containers by its name, or when the ends of
// containers and virtual machines are its only ports and no default route leaves
// by it.
func notForAuto(inv Inventory, l Link) string {
	for _, p := range containerPrefixes() {
		if strings.HasPrefix(l.Name, p) {
			return "is container-owned (named like " + p + "*)"
		}
	}
	if l.Kind == "bridge" && isDockerBridge(l.Name) {
		return "is container-owned (a docker network's bridge)"
	}
	if isTunnel(l) {
		return "is a tunnel (" + l.Kind + "): name it if it is to be used"
	}
	switch l.Kind {
	case "dummy", "ifb", "nlmon", "vcan", "vrf", "macvtap", "ipvtap", "netdevsim":
		return "is no NIC (" + l.Kind + ")"
	case "veth", "netkit":
		if !hasOwnSubnet(l) {
			return "is container-owned (a " + l.Kind + " without a subnet of its own)"
		}
	case "bridge":
		if l.DefaultRouteMetric == nil && onlyGuestPorts(inv, l) {
			return "is container-owned (a bridge with only container ports)"
		}
	}
	return ""
}

func isTunnel(l Link) bool {
	for _, k := range tunnelKinds() {
		if l.Kind == k {
			return true
		}
	}
	for _, p := range tunnelPrefixes() {
		rest, ok := strings.CutPrefix(l.Name, p)
		if ok && (rest == "" || strings.Trim(rest, "0123456789") == "" || p == "zt") {
			return true
		}
	}
	return false
}

func hasOwnSubnet(l Link) bool {
	for _, p := range l.Addrs {
		if isGlobal(p.Addr()) && p.Bits() < 32 {
			return true
		}
	}
	return false
}

func hasGlobal(l Link) bool {
	return slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return isGlobal(p.Addr()) })
}

// onlyGuestPorts says whether a bridge has ports, all of them ends of containers or
// virtual machines (libvirt adds a dummy to its bridges).
func onlyGuestPorts(inv Inventory, bridge Link) bool {
	ports := 0
	for _, l := range inv.Links {
		if l.MasterIndex != bridge.Index {
			continue
		}
		switch l.Kind {
		case "veth", "netkit", "tun", "tuntap", "macvtap", "dummy":
			ports++
		default:
			return false
		}
	}
	return ports > 0
}

// isGlobal says whether an address can be a node IP: IPv4 unicast, neither
// loopback nor link-local nor reserved.
func isGlobal(a netip.Addr) bool {
	return a.Is4() && a.IsGlobalUnicast() && a.As4()[0] != 0 && a.As4()[0] < 240
}
