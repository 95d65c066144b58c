package netcfg

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// OwnProtocol is the protocol of every route and rule that the Keeper installs: the
// letter 'h'. What carries another protocol is foreign: reported, never touched.
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
	// Table is TableMain, or a probe table (ProbeTable and the next ones).
	Table int
	// Metric is rtm priority: the lowest wins; 0 is the strongest.
	Metric uint32
	// OnLink has the kernel take the gateway for a neighbour although no subnet of
	// the link holds it (RTNH_F_ONLINK).
	OnLink bool
	// MTU is RTAX_MTU in bytes, AdvMSS is RTAX_ADVMSS in bytes; 0: the link's.
	MTU, AdvMSS uint32
	// odd says that the kernel's route carries what has no field here (a locked
	// MTU, a window, a nexthop object): it is not the one that these fields tell.
	odd bool
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

// key is the identity as the kernel sees it.
func (id RouteID) key() routeKey { return Route{Dst: id.Dst, Table: id.Table, Metric: id.Metric}.key() }

// routeKey is what the kernel takes for the identity of a route: a second one
// with the same key is refused (NLM_F_EXCL) or takes its place (NLM_F_REPLACE).
// It is small, because a table of many routes is looked up by it.
type routeKey struct {
	addr          [4]byte
	bits, tos     uint8
	table, metric uint32
}

func (r Route) key() routeKey {
	k := r.place()
	k.tos, k.metric = r.TOS, r.Metric
	return k
}

// place is the key of all routes for a destination in a table, whatever their
// metric.
func (r Route) place() routeKey {
	k := routeKey{bits: uint8(r.Dst.Bits()), table: uint32(r.Table)}
	if a := r.Dst.Addr(); a.Is4() {
		k.addr = a.As4()
	}
	return k
}

// ownTable says whether the Keeper writes to the table.
func ownTable(table int) bool { return table == TableMain || probeTable(table) }

func probeTable(table int) bool { return table >= ProbeTable && table < ProbeTable+MaxVPNServers }

// ownTables are the tables that the Keeper writes to.
func ownTables() []int {
	tables := append(make([]int, 0, 1+MaxVPNServers), TableMain)
	for t := ProbeTable; t < ProbeTable+MaxVPNServers; t++ {
		tables = append(tables, t)
	}
	return tables
}

// Own says whether the route carries OwnProtocol in a table that the Keeper writes
// to. Whether it is the Keeper's is for its record to say (Desired.Former).
func (r Route) Own() bool { return r.Protocol == OwnProtocol && ownTable(r.Table) }

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
	if r.Table != TableMain && r.Table != 0 {
		fmt.Fprintf(&b, " table %d", r.Table)
	}
	r.writeExtras(&b)
	return b.String()
}

func (r Route) writeExtras(b *strings.Builder) {
	if r.OnLink {
		b.WriteString(" onlink")
	}
	if r.MTU != 0 {
		fmt.Fprintf(b, " mtu %d", r.MTU)
	}
	if r.AdvMSS != 0 {
		fmt.Fprintf(b, " advmss %d", r.AdvMSS)
	}
	if r.odd {
		b.WriteString(" and more")
	}
}

func compareRoutes(a, b Route) int {
	return cmp.Or(
		cmp.Compare(a.Table, b.Table),
		a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()),
		cmp.Compare(a.Metric, b.Metric), a.Gateway.Compare(b.Gateway),
	)
}

// sortRoutes sorts in place: the main table first, then by destination. Most lists
// come sorted.
func sortRoutes(rs []Route) []Route {
	if !slices.IsSortedFunc(rs, compareRoutes) {
		slices.SortStableFunc(rs, compareRoutes)
	}
	return rs
}
