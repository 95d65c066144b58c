package netcfg

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Parts of a small world: all addresses lie in 10.0.0.0/8 and few subnets, so that
// they meet. A host's own mostly lie in the lower half, the VPC in the upper one.
func lanPart() []byte { return []byte{0, 0, 0, 1, 1, 2} }
func vpcPart() []byte { return []byte{1, 2, 2, 3, 3, 4, 4} }
func anyPart() []byte { return []byte{0, 1, 2, 3, 4} }

func drawAddr(t *rapid.T, label string, second []byte) netip.Addr {
	draw := func(from ...byte) byte { return rapid.SampledFrom(from).Draw(t, label) }
	return netip.AddrFrom4([4]byte{10, draw(second...), draw(0, 0, 1), draw(0, 1, 2, 3, 255)})
}

func drawPrefix(t *rapid.T, label string, second []byte, bits ...int) netip.Prefix {
	return netip.PrefixFrom(drawAddr(t, label, second), rapid.SampledFrom(bits).Draw(t, label+" bits"))
}

func drawLink(t *rapid.T, index int) Link {
	l := Link{Index: index, Name: []string{"lan0", "lan1", "lan2"}[index-2], MTU: rapid.SampledFrom([]int{576, 1400, 1500, 9001}).Draw(t, "link MTU")}
	for range rapid.SampledFrom([]int{1, 1, 1, 2, 0}).Draw(t, "addresses") {
		l.Addrs = append(l.Addrs, drawPrefix(t, "address", lanPart(), 24, 24, 30, 31, 32))
	}
	return l
}

// drawRoute makes a route of the main table: ours, or anybody's.
func drawRoute(t *rapid.T) Route {
	r := Route{
		Dst:       drawPrefix(t, "destination", anyPart(), 0, 0, 8, 16, 24, 32).Masked(),
		LinkIndex: rapid.IntRange(2, 4).Draw(t, "link"),
		Protocol:  rapid.SampledFrom([]uint8{OwnProtocol, ProtoKernel, 3, 16}).Draw(t, "protocol"),
		Metric:    rapid.SampledFrom([]uint32{0, 0, 50, 100}).Draw(t, "metric"),
		Type:      TypeUnicast, Table: TableMain,
	}
	if r.Own() || rapid.IntRange(0, 9).Draw(t, "gatewayed") > 1 {
		r.Gateway = drawAddr(t, "gateway", anyPart())
	} else {
		r.Scope = ScopeLink
	}
	if r.Own() {
		r.Source = drawAddr(t, "source", lanPart())
	}
	return r
}

// world is a host, what is selected on it, and what an assignment wants of it.
type world struct {
	inv    Inventory
	sel    Selection
	intent RouteIntent
}

func drawWorld(t *rapid.T) world {
	var w world
	for index := range rapid.IntRange(1, 3).Draw(t, "links") {
		w.inv.Links = append(w.inv.Links, drawLink(t, index+2))
	}
	for range rapid.IntRange(0, 8).Draw(t, "routes") {
		r := drawRoute(t)
		if !slices.ContainsFunc(w.inv.Routes, func(o Route) bool { return o.key() == r.key() }) {
			w.inv.Routes = append(w.inv.Routes, r)
		}
	}
	link := rapid.SampledFrom(w.inv.Links).Draw(t, "selected")
	w.sel = Selection{Link: link, NodeIP: drawAddr(t, "node IP", lanPart())}
	for range rapid.IntRange(1, 3).Draw(t, "CIDRs") {
		w.intent.VPCCIDRs = append(w.intent.VPCCIDRs, drawPrefix(t, "CIDR", vpcPart(), 8, 16, 16, 24, 24, 24, 24).Masked())
	}
	for range rapid.SampledFrom([]int{1, 2, 2, 3, 4, 0}).Draw(t, "servers") {
		server := drawAddr(t, "server", lanPart())
		if len(link.Addrs) > 0 && rapid.IntRange(0, 9).Draw(t, "server in the subnet") > 1 {
			server = rapid.SampledFrom(link.Addrs).Draw(t, "subnet").Addr().Next()
			if rapid.Bool().Draw(t, "the one after") {
				server = server.Next()
			}
		}
		w.intent.VPNServers = append(w.intent.VPNServers, server)
	}
	w.intent.Active = drawAddr(t, "active", lanPart())
	if n := len(w.intent.VPNServers); n > 0 && rapid.Bool().Draw(t, "active is a server") {
		w.intent.Active = rapid.SampledFrom(w.intent.VPNServers).Draw(t, "active server")
	}
	w.intent.Metric = rapid.SampledFrom([]uint32{0, 50}).Draw(t, "wanted metric")
	w.intent.OnLink = rapid.Bool().Draw(t, "onlink")
	w.intent.MTU = rapid.SampledFrom([]uint32{0, 100, 1300, 1500}).Draw(t, "MTU")
	for range rapid.IntRange(0, 3).Draw(t, "planes") {
		w.intent.Plane = append(w.intent.Plane, drawAddr(t, "plane", anyPart()))
	}
	return w
}

// after is the main table once the plan is in the kernel, as Diff writes it; all
// that carries our protocol there was ours before.
func (w world) after(plan Plan) []Route {
	kernel := &modelKernel{routes: slices.Clone(w.inv.Routes), refuse: func() bool { return false }, look: func() {}}
	desired := Desired{Routes: slices.DeleteFunc(slices.Clone(plan.Routes), func(r Route) bool { return r.Table != TableMain })}
	for _, r := range w.inv.Routes {
		desired.Former = append(desired.Former, r.ID())
	}
	m := newModel()
	m.apply(kernel, Diff(desired, kernel.routes, nil))
	return kernel.routes
}

func TestPlanNeverLocksAHostOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		plan, err := PlanRoutes(w.inv, w.sel, w.intent)
		if err != nil {
			if len(plan.Routes)+len(plan.Rules)+len(plan.Servers)+len(plan.PlaneMoves) > 0 || len(FieldErrors(err)) == 0 {
				t.Fatalf("with error %v a plan %+v", err, plan)
			}
			return
		}
		checkOwn(t, w, plan)
		checkUncovered(t, w, plan)
		checkServers(t, w, plan)
		checkPlane(t, w, plan)
	})
}

// checkOwn: what is planned is ours, each thing once, in tables of ours; what is
// not ours is in the kernel before and after.
func checkOwn(t *rapid.T, w world, plan Plan) {
	keys := make(map[routeKey]bool)
	for _, r := range plan.Routes {
		probe := r.Table >= ProbeTable && r.Table < ProbeTable+MaxVPNServers
		if r.Protocol != OwnProtocol || r.Table != TableMain && !probe || keys[r.key()] || r.LinkIndex != w.sel.Link.Index {
			t.Fatalf("route %+v", r)
		}
		keys[r.key()] = true
		link, _ := w.inv.LinkByIndex(r.LinkIndex)
		if r.MTU > 0 && (int(r.MTU) >= link.MTU || r.AdvMSS+40 != r.MTU) || r.MTU == 0 && r.AdvMSS > 0 {
			t.Fatalf("MTU %d, MSS %d on a link of %d", r.MTU, r.AdvMSS, link.MTU)
		}
	}
	after := w.after(plan)
	for _, r := range w.inv.Routes {
		if !r.Own() && !slices.Contains(after, r) {
			t.Fatalf("foreign route %s is gone", r)
		}
	}
}

// checkUncovered: no route of ours takes the gateway, a VPN server, or any address
// of a subnet of this host.
func checkUncovered(t *rapid.T, w world, plan Plan) {
	for _, r := range plan.Routes {
		for _, s := range w.intent.VPNServers {
			if r.Dst.Contains(s) {
				t.Fatalf("%s covers the server %s", r, s)
			}
		}
		for _, f := range w.inv.Routes {
			if f.IsDefault() && f.Gateway.IsValid() && r.Dst.Contains(f.Gateway) || f.Scope == ScopeLink && f.Dst.Bits() > 0 && r.Dst.Overlaps(f.Dst) {
				t.Fatalf("%s covers %s", r, f)
			}
		}
		for _, l := range w.inv.Links {
			for _, p := range l.Addrs {
				if r.Dst.Overlaps(p) {
					t.Fatalf("%s covers %s", r, p)
				}
			}
		}
	}
}

// checkServers: the active one is one that can be used, the wanted one if that
// can; every server is either probed or left out with a reason.
func checkServers(t *rapid.T, w world, plan Plan) {
	probed := make([]netip.Addr, 0, len(plan.Servers))
	for _, s := range plan.Servers {
		probed = append(probed, s.Server)
		if (s.Mark != 0) != (len(plan.Servers) > 1) {
			t.Fatalf("mark %#x with %d servers", s.Mark, len(plan.Servers))
		}
	}
	if len(plan.Servers)+len(plan.Unusable) != len(w.intent.VPNServers) {
		t.Fatalf("%d servers: %v, %v", len(w.intent.VPNServers), plan.Servers, plan.Unusable)
	}
	if len(probed) == 0 {
		if plan.Active.IsValid() || len(plan.Routes) > 0 {
			t.Fatalf("routes without a server: %+v", plan)
		}
		return
	}
	if want := w.intent.Active; slices.Contains(probed, want) != (plan.Active == want) || !slices.Contains(probed, plan.Active) {
		t.Fatalf("active %s of %v, wanted %s", plan.Active, probed, want)
	}
	for _, r := range plan.Rules {
		at := int(r.Mark) - ProbeMark
		if at < 0 || at >= len(w.intent.VPNServers) || r.Table != ProbeTable+at || r.Priority != uint32(ProbePriority+at) || r.Mark&^r.Mask != 0 {
			t.Fatalf("rule %+v", r)
		}
		for _, route := range plan.Routes {
			if route.Table == r.Table && route.Gateway != w.intent.VPNServers[at] {
				t.Fatalf("rule %+v leads to %s", r, route)
			}
		}
	}
}

// checkPlane: the way to the plane stays as it is unless a CIDR that the operator
// gave, or one that is given no longer, decides it; then the plan says so. It is
// lost only where a route of ours was the only one, and is not wanted any more.
func checkPlane(t *rapid.T, w world, plan Plan) {
	after := Inventory{Routes: w.after(plan)}
	for _, addr := range w.intent.Plane {
		old, had := w.inv.RouteTo(addr)
		now, has := after.RouteTo(addr)
		moved := old.LinkIndex != now.LinkIndex || old.Gateway != now.Gateway || old.Source != now.Source
		told := slices.ContainsFunc(plan.PlaneMoves, func(m PlaneMove) bool {
			return m.Plane == addr && m.Before == old && m.After == now && m.Lost() == !has
		})
		switch {
		case moved != told:
			t.Fatalf("%s: from %s to %s, told %v", addr, old, now, plan.PlaneMoves)
		case moved && !old.Own() && !now.Own():
			t.Fatalf("%s: from %s to %s, neither of them ours", addr, old, now)
		case had && !has && !old.Own():
			t.Fatalf("%s lost, before %s", addr, old)
		}
		for _, r := range after.Routes {
			if r.Dst.Contains(addr) && !has {
				t.Fatalf("%s counts as lost, but there is %s", addr, r)
			}
		}
	}
}
