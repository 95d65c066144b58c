package netcfg

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// OwnProtocol is the rtm_protocol of every route that the Keeper installs: the
// letter 'h'. A route with another protocol is foreign: reported, never touched.
const OwnProtocol uint8 = 0x68

// Numbers from linux/rtnetlink.h that callers meet in Route.
const (
	TableMain     = 254 // RT_TABLE_MAIN
	ScopeUniverse = 0   // RT_SCOPE_UNIVERSE: reached through a gateway
	ScopeLink     = 253 // RT_SCOPE_LINK: the destination is on the link
	TypeUnicast   = 1   // RTN_UNICAST
	ProtoKernel   = 2   // RTPROT_KERNEL: follows from an address
)

// Route is one IPv4 route, or one hop of a multipath route. It is comparable.
type Route struct {
	// Dst is the masked destination; 0.0.0.0/0 is the default route.
	Dst netip.Prefix
	// Gateway is the next hop; invalid for an on-link route.
	Gateway netip.Addr
	// Source is the preferred source address; invalid if the kernel chooses.
	Source netip.Addr
	// LinkIndex is the outgoing link; 0 for routes without one (blackhole).
	LinkIndex int
	// Protocol says who installed it (OwnProtocol, ProtoKernel, …).
	Protocol uint8
	// Scope is ScopeUniverse, ScopeLink or another rtm_scope.
	Scope uint8
	// Type is TypeUnicast or another rtm_type.
	Type uint8
	// TOS is part of a route's identity; ours is always 0.
	TOS uint8
	// Multipath is set where the kernel's route has several hops, of which this
	// is one. The Keeper installs none.
	Multipath bool
	// Table is TableMain for everything that this package plans.
	Table int
	// Metric is rtm priority: the lowest wins; 0 is the strongest.
	Metric uint32
	// OnLink has the kernel take the gateway for a neighbour although no subnet of
	// the link holds it (RTNH_F_ONLINK).
	OnLink bool
	// MTU is RTAX_MTU in bytes, AdvMSS is RTAX_ADVMSS in bytes; 0: the link's.
	MTU, AdvMSS uint32
}

// RouteID is what makes a route one of its kind in the kernel: no other of ours
// has the same.
type RouteID struct {
	Dst    netip.Prefix
	Table  int
	Metric uint32
}

// ID returns the route's identity.
func (r Route) ID() RouteID { return RouteID{Dst: r.Dst, Table: r.Table, Metric: r.Metric} }

// routeKey is what the kernel takes for the identity of a route: a second one
// with the same key is refused (NLM_F_EXCL) or takes its place (NLM_F_REPLACE).
type routeKey struct {
	dst    netip.Prefix
	table  int
	metric uint32
	tos    uint8
}

func (r Route) key() routeKey {
	return routeKey{dst: r.Dst, table: r.Table, metric: r.Metric, tos: r.TOS}
}

// Own says whether the route carries OwnProtocol in the main table, so that the
// Keeper may change or delete it.
func (r Route) Own() bool { return r.Protocol == OwnProtocol && r.Table == TableMain }

// IsDefault says whether the route is a unicast default route.
func (r Route) IsDefault() bool {
	return r.Dst.IsValid() && r.Dst.Bits() == 0 && r.Type == TypeUnicast
}

// String renders the route like `ip route`, with the link's index for its name.
func (r Route) String() string {
	var b strings.Builder
	if r.IsDefault() {
		b.WriteString("default")
	} else {
		b.WriteString(r.Dst.String())
	}
	if r.Gateway.IsValid() {
		fmt.Fprintf(&b, " via %s", r.Gateway)
	}
	if r.LinkIndex != 0 {
		fmt.Fprintf(&b, " dev #%d", r.LinkIndex)
	}
	fmt.Fprintf(&b, " proto %d", r.Protocol)
	if r.Source.IsValid() {
		fmt.Fprintf(&b, " src %s", r.Source)
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	return b.String()
}

func compareRoutes(a, b Route) int {
	if c := a.Dst.Addr().Compare(b.Dst.Addr()); c != 0 {
		return c
	}
	if c := a.Dst.Bits() - b.Dst.Bits(); c != 0 {
		return c
	}
	if a.Metric != b.Metric {
		if a.Metric < b.Metric {
			return -1
		}
		return 1
	}
	return a.Gateway.Compare(b.Gateway)
}

func sortRoutes(rs []Route) []Route {
	slices.SortStableFunc(rs, compareRoutes)
	return rs
}
