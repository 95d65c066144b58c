package netcfg

import (
	"net/netip"
	"slices"
)

// Link is one network interface with its IPv4 addresses.
type Link struct {
	// Index is the kernel's interface index.
	Index int
	// Name is the current name; AltNames are the alternative ones.
	Name     string
	AltNames []string
	// MAC is the hardware address in lower case with colons; "" where none.
	MAC string
	// PermMAC is the one that the hardware came with, where the kernel knows it: a
	// bond gives its ports another.
	PermMAC string
	// Kind is "device" for hardware, else the rtnetlink kind: "veth", "bridge",
	// "bond", "vlan", "macvlan", "tun", "wireguard", …
	Kind string
	// Up is the administrative state; Carrier says whether the link is there.
	Up, Carrier, Loopback bool
	// MTU in bytes.
	MTU int
	// ParentIndex is the link below (vlan, macvlan) or the veth peer; 0 if none.
	ParentIndex int
	// MasterIndex is the bridge or bond that the link is enslaved to; 0 if none.
	MasterIndex int
	// Addrs are the IPv4 addresses with their prefix lengths, in kernel order
	// (primary addresses first). They are not masked.
	Addrs []netip.Prefix
	// Infos hold what else there is to say of some of the addresses.
	Infos []AddrInfo
	// DefaultRouteMetric is the metric of the best default route via the link;
	// nil if there is none.
	DefaultRouteMetric *uint32
}

// AddrInfo is what makes an address unusual.
type AddrInfo struct {
	// Addr is the address spoken of.
	Addr netip.Addr
	// Peer is the other end, with its prefix, on a point-to-point link; else
	// invalid.
	Peer netip.Prefix
	// Scope is the rtm_scope in which the address has a meaning: ScopeUniverse,
	// ScopeLink or another.
	Scope uint8
	// Secondary is IFA_F_SECONDARY: another address of the same subnet came first.
	Secondary bool
	// Deprecated is IFA_F_DEPRECATED: the preferred lifetime is over.
	Deprecated bool
}

// Info returns what is unusual about an address of the link; the zero value where
// nothing is.
func (l Link) Info(a netip.Addr) AddrInfo {
	for _, info := range l.Infos {
		if info.Addr == a {
			return info
		}
	}
	return AddrInfo{}
}

// HasName says whether name is the link's name or one of its altnames.
func (l Link) HasName(name string) bool {
	return name != "" && (l.Name == name || slices.Contains(l.AltNames, name))
}

// HasAddr says whether the link carries the address.
func (l Link) HasAddr(a netip.Addr) bool {
	return slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// Inventory is what the host's network looks like: all links, by index, and the
// IPv4 routes of the main table.
type Inventory struct {
	Links  []Link
	Routes []Route
}

// LinkByIndex returns the link with that index.
func (inv Inventory) LinkByIndex(index int) (Link, bool) {
	for _, l := range inv.Links {
		if l.Index == index {
			return l, true
		}
	}
	return Link{}, false
}

// LinkByName returns the link with that name or altname; a name wins over an
// altname.
func (inv Inventory) LinkByName(name string) (Link, bool) {
	for _, l := range inv.Links {
		if l.Name == name && name != "" {
			return l, true
		}
	}
	for _, l := range inv.Links {
		if l.HasName(name) {
			return l, true
		}
	}
	return Link{}, false
}

// RouteTo returns the main table's route for an address: longest prefix, then
// lowest metric. Policy rules and TOS are not looked at.
func (inv Inventory) RouteTo(a netip.Addr) (Route, bool) {
	var best Route
	found := false
	for _, r := range inv.Routes {
		if !r.Dst.IsValid() || !r.Dst.Contains(a) || r.Type != TypeUnicast || r.TOS != 0 {
			continue
		}
		longer := r.Dst.Bits() > best.Dst.Bits()
		cheaper := r.Dst.Bits() == best.Dst.Bits() && r.Metric < best.Metric
		if !found || longer || cheaper {
			best, found = r, true
		}
	}
	return best, found
}

// setDefaultMetrics fills DefaultRouteMetric from the routes.
func (inv *Inventory) setDefaultMetrics() {
	best := make(map[int]uint32)
	for _, r := range inv.Routes {
		if !r.IsDefault() || r.LinkIndex == 0 {
			continue
		}
		if m, ok := best[r.LinkIndex]; !ok || r.Metric < m {
			best[r.LinkIndex] = r.Metric
		}
	}
	for i := range inv.Links {
		if m, ok := best[inv.Links[i].Index]; ok {
			inv.Links[i].DefaultRouteMetric = &m
		}
	}
}
