package netcfg

import (
	"errors"
	"net/netip"
)

// RouteIntent is the routing part of an assignment.
type RouteIntent struct {
	// VPCCIDRs are the destinations, one route each. Duplicates count once.
	VPCCIDRs []netip.Prefix
	// VPNServers are the possible next hops on the selected NIC's link, in order of
	// preference. None means that the default gateway routes the VPC: no route is
	// planned.
	VPNServers []netip.Addr
	// Active is the server that the main table's routes lead through; the zero
	// value, or one that is not among VPNServers, means the first that can be used.
	Active netip.Addr
	// Metric of the main table's routes; 0 is the strongest.
	Metric uint32
	// OnLink accepts servers that no subnet of the NIC holds, as neighbours.
	OnLink bool
	// MTU for the routes, in bytes; 0: the link's. One that is not below the link's
	// changes nothing; one below 576 counts as 576.
	MTU uint32
	// Plane are addresses of the management plane, or of the proxy before it. They
	// decide nothing: see Plan.PlaneMoves.
	Plane []netip.Addr
}

// Plan is what PlanRoutes makes of an intent.
type Plan struct {
	// Routes for the kernel: the main table's, then each probe table's, sorted.
	Routes []Route
	// Rules that lead marked probes into their tables; none with one server only.
	Rules []Rule
	// Active is the server in use; invalid where the intent is NotRequired.
	Active netip.Addr
	// Servers that can be used, in order of preference, with how to probe each.
	Servers []ServerPath
	// Unusable are the servers that were left out; one could be used.
	Unusable []*FieldError
	// PlaneMoves are those of RouteIntent.Plane that are reached by another way once
	// the plan is in the kernel: what this host asks for help with depends on it.
	PlaneMoves []PlaneMove
}

// NotRequired says that no route is to be installed, because the default gateway
// is expected to route the VPC.
func (i RouteIntent) NotRequired() bool { return len(i.VPNServers) == 0 }

// usableServer is one VPN server that can be a next hop.
type usableServer struct {
	addr   netip.Addr
	index  int // in the operator's list: marks and tables stay while others fail
	onLink bool
}

// PlanRoutes returns one main-table route per VPC CIDR via the active VPN server,
// source = node IP; where two servers or more can be used, also the tables and
// rules by which each of them is probed. Nothing where the intent is NotRequired.
// It is pure. Each refused value is a *FieldError, all of them joined; with an
// error there are no routes: part of a VPC is not a state that anybody asked for.
// A server that cannot be used is no error as long as another can.
func PlanRoutes(inv Inventory, sel Selection, intent RouteIntent) (Plan, error) {
	if intent.NotRequired() {
		return Plan{PlaneMoves: planeMoves(inv, nil, intent.Plane)}, nil
	}
	usable, unusable := judgeServers(inv, sel, intent)
	cidrs, refused := judgeCIDRs(inv, intent)
	if len(usable) == 0 || len(refused) > 0 {
		return Plan{}, joinRefusals(append(unusable, refused...))
	}
	active := usable[0]
	for _, s := range usable {
		if s.addr == intent.Active {
			active = s
		}
	}
	link, _ := inv.LinkByIndex(sel.Link.Index)
	base := Route{
		Source: sel.NodeIP, LinkIndex: link.Index, Protocol: OwnProtocol,
		Scope: ScopeUniverse, Type: TypeUnicast, Table: TableMain,
	}
	base.MTU, base.AdvMSS = routeMTU(intent.MTU, link)
	main := base
	main.Metric = intent.Metric
	plan := Plan{Routes: via(main, active, cidrs), Active: active.addr, Unusable: unusable}
	plan.PlaneMoves = planeMoves(inv, plan.Routes, intent.Plane)
	plan.addProbes(base, usable, cidrs)
	return plan, nil
}

// addProbes gives each server its table and rule. A single server is probed by the
// main table's routes: they are the way that counts.
func (p *Plan) addProbes(base Route, usable []usableServer, cidrs []netip.Prefix) {
	if len(usable) == 1 {
		p.Servers = []ServerPath{{Server: usable[0].addr}}
		return
	}
	for _, s := range usable {
		table, mark := ProbeTable+s.index, uint32(ProbeMark+s.index)
		base.Table = table
		p.Routes = append(p.Routes, via(base, s, cidrs)...)
		p.Rules = append(p.Rules, Rule{
			Priority: uint32(ProbePriority + s.index), Mark: mark, Mask: ProbeMask, Table: table, Protocol: OwnProtocol,
		})
		p.Servers = append(p.Servers, ServerPath{Server: s.addr, Mark: mark})
	}
}

// via returns one route like base per CIDR, sorted.
func via(base Route, server usableServer, cidrs []netip.Prefix) []Route {
	routes := make([]Route, 0, len(cidrs))
	for _, cidr := range cidrs {
		r := base
		r.Dst, r.Gateway, r.OnLink = cidr, server.addr, server.onLink
		routes = append(routes, r)
	}
	return sortRoutes(routes)
}

const (
	// leastMTU is what every IPv4 host takes (RFC 791, section 3.1); no VPN needs
	// less, and a forged answer must not make packets tiny.
	leastMTU = 576
	// tcpHeaders are IPv4's and TCP's without options: RFC 9293, section 3.7.1,
	// counts so whatever options there are.
	tcpHeaders = 40
)

// routeMTU returns RTAX_MTU and RTAX_ADVMSS of the routes; 0 leaves both to the
// link. The MTU bounds what this host sends. The far end's segments are bounded by
// the MSS that this host announces, and by nothing else where ICMP errors are
// dropped on the way: so that is set too. At the least it is RFC 879's 536.
// The kernel takes the route's MTU even where it is above the link's.
func routeMTU(mtu uint32, link Link) (onRoute, advMSS uint32) {
	if mtu == 0 {
		return 0, 0
	}
	mtu = max(mtu, leastMTU)
	if link.MTU > 0 && int64(mtu) >= int64(link.MTU) {
		return 0, 0
	}
	return mtu, mtu - tcpHeaders
}

func joinRefusals(refusals []*FieldError) error {
	errs := make([]error, 0, len(refusals))
	for _, r := range refusals {
		errs = append(errs, r)
	}
	return errors.Join(errs...)
}
