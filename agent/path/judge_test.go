package path

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"hybridagent/netcfg"
)

// siteEvidence is of a site where nothing was found wrong.
func siteEvidence() evidence {
	return evidence{
		plan: Plan{
			NIC: "lan0", Source: netip.MustParseAddr("10.200.0.11"), APIEndpoint: "api.example:443",
			Link:    Link{Name: "lan0", Up: true, Carrier: true, Addressed: true, MTU: 1500},
			Gateway: netip.MustParseAddr("10.200.0.1"), Active: netip.MustParseAddr("10.200.0.2"),
			Servers:  []netcfg.ServerPath{{Server: netip.MustParseAddr("10.200.0.2")}},
			VPCCIDRs: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")}, Internet: []string{"plane.example:7443"},
		},
		now: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	api := func(ok bool) Result {
		return Result{Target: "10.100.0.10:443", Method: MethodTCP, API: true, OK: ok, Error: "no answer"}
	}
	second := func(ok bool) Result { r := api(ok); r.Target = "10.100.0.11:443"; return r }
	refused := Result{Target: "10.100.0.10:443", Method: MethodTCP, API: true, Refused: true, Error: "connection refused"}
	public := func(ok bool) Result { r := api(ok); r.Target = "198.51.100.7:443"; return r }
	other := func(ok bool) Result {
		return Result{Target: "10.100.0.1", Method: MethodICMP, OK: ok, Error: "no answer"}
	}
	off := Result{Target: "10.100.0.1", Method: MethodICMP, Unavailable: true}
	unnamed := Result{Target: "api.example:443", Method: MethodTCP, API: true, Error: "the name does not resolve"}
	addrs := func(texts ...string) (list []netip.Addr) {
		for _, text := range texts {
			list = append(list, netip.MustParseAddr(text))
		}
		return list
	}
	results := func(list ...Result) func(*evidence) { return func(e *evidence) { e.results = list } }
	dead := results(api(false), other(false))
	fine := results(api(true), other(true))
	on := func(changes ...func(*evidence)) (all []func(*evidence)) { return changes }
	noServer := func(e *evidence) { e.name = nameFacts{failed: true, why: "i/o timeout"} }
	valid := func(from, to time.Duration) func(*evidence) {
		return func(e *evidence) {
			e.handshake = handshake{Certificate{e.now.Add(from), e.now.Add(to)}, "10.100.0.10:443", false, false}
		}
	}
	hole := func(e *evidence) { e.mtu = MTU{Path: 1400, BlackHole: true} }
	hangs := func(e *evidence) { e.handshake = handshake{target: "10.100.0.10:443", hangs: true} }
	const year = 365 * 24 * time.Hour
	for name, tc := range map[string]struct {
		facts   []func(*evidence)
		verdict Verdict
		segment Segment
		says    string
	}{
		"nothing":                       {nil, Unknown, "", ""},
		"only ICMP, which is off":       {on(results(off)), Unknown, "", ""},
		"API answers":                   {on(results(api(true))), Healthy, "", ""},
		"API answers, gateway does not": {on(results(api(true), other(false))), Healthy, "", ""},
		"API answers, ICMP is off":      {on(results(api(true), off)), Healthy, "", ""},
		"no API, a target answers":      {on(results(other(false), other(true))), Healthy, "", ""},
		"API dead, target answers":      {on(results(api(false), other(true))), APIUnreachable, SegmentAPI, "10.100.0.10:443 (no answer); check its security group, its port"},
		"one of two API addresses":      {on(results(api(true), second(false))), APIUnreachable, SegmentAPI, "10.100.0.11:443 (no answer); check its security group and the addresses"},
		"API refuses, no other target":  {on(results(refused)), APIUnreachable, SegmentAPI, "connection refused"},
		"API dead, ICMP is off":         {on(results(api(false), off)), Unreachable, SegmentTunnel, "nothing behind the VPN server 10.200.0.2 answers"},
		"no API, nothing answers":       {on(results(other(false))), Unreachable, SegmentTunnel, ""},
		"tunnel": {on(dead, func(e *evidence) { e.internet, e.server, e.gateway = Present, Present, Present }), Unreachable, SegmentTunnel,
			"VPC path down, internet fine: the VPN server 10.200.0.2 answers, nothing behind it does; check the tunnel on it and the VPC's route back to 10.200.0.11"},
		"no VPN server":                          {on(dead, func(e *evidence) { e.plan.Active = netip.Addr{} }), Unreachable, SegmentTunnel, "nothing in the VPC answers through the gateway 10.200.0.1"},
		"server":                                 {on(dead, func(e *evidence) { e.server, e.gateway = Absent, Present }), Unreachable, SegmentServer, "the VPN server 10.200.0.2 does not answer on lan0"},
		"server and internet":                    {on(dead, func(e *evidence) { e.server, e.gateway, e.internet = Absent, Present, Absent }), Unreachable, SegmentServer, ""},
		"gateway":                                {on(dead, func(e *evidence) { e.server, e.gateway, e.internet = Present, Absent, Absent }), Unreachable, SegmentGateway, "check the site's router"},
		"gateway is silent, the internet is not": {on(dead, func(e *evidence) { e.server, e.gateway, e.internet = Present, Absent, Present }), Unreachable, SegmentTunnel, ""},
		"gateway is the server":                  {on(dead, func(e *evidence) { e.plan.Gateway = e.plan.Active; e.server, e.gateway = Absent, Absent }), Unreachable, SegmentServer, ""},
		"nobody on the link":                     {on(dead, func(e *evidence) { e.server, e.gateway = Absent, Absent }), Unreachable, SegmentGateway, "neither the gateway"},
		"internet":                               {on(dead, func(e *evidence) { e.gateway, e.internet = Present, Absent }), Unreachable, SegmentInternet, "(plane.example:7443) behind the gateway 10.200.0.1"},
		"VPC down, public API fine":              {on(results(public(true), other(false)), func(e *evidence) { e.internet = Present }), Unreachable, SegmentTunnel, "internet fine"},
		"public API down with the internet":      {on(results(public(false), other(true)), func(e *evidence) { e.internet = Absent }), APIUnreachable, SegmentInternet, "198.51.100.7"},
		"public API down alone":                  {on(results(public(false)), func(e *evidence) { e.internet = Present }), Unreachable, SegmentAPI, ""},
		"no such name":                           {on(results(unnamed, other(true)), func(e *evidence) { e.name = nameFacts{failed: true, unknown: true, server: "10.0.0.2:53"} }), NameUnresolved, SegmentDNS, "does not exist by the DNS server 10.0.0.2:53"},
		"no DNS server":                          {on(results(unnamed, other(true)), noServer), NameUnresolved, SegmentDNS, "no DNS server answers"},
		"no DNS server, no target":               {on(results(unnamed), noServer), NameUnresolved, SegmentDNS, ""},
		"no DNS server for want of internet":     {on(results(unnamed), noServer, func(e *evidence) { e.internet = Absent }), Unreachable, SegmentInternet, "and no DNS server answers"},
		"DNS behind a dead tunnel":               {on(results(unnamed, other(false)), noServer, func(e *evidence) { e.server = Present }), Unreachable, SegmentTunnel, "and no DNS server answers"},
		"public answer": {on(results(public(true)), func(e *evidence) { e.plan.Access, e.name.addrs = AccessPrivate, addrs("198.51.100.7") }), WrongAnswer, SegmentDNS,
			"resolves to public addresses (198.51.100.7), expected are private ones"},
		"mixed answer": {on(results(public(true), api(true)), func(e *evidence) { e.plan.Access, e.name.addrs = AccessPrivate, addrs("10.100.0.10", "198.51.100.7") }), WrongAnswer, SegmentDNS,
			"both public and private addresses (10.100.0.10, 198.51.100.7)"},
		"private answer":                     {on(fine, func(e *evidence) { e.plan.Access, e.name.addrs = AccessPublic, addrs("10.100.0.10") }), WrongAnswer, SegmentDNS, "resolves to private addresses"},
		"right answer":                       {on(fine, func(e *evidence) { e.plan.Access, e.name.addrs = AccessPrivate, addrs("10.100.0.10") }), Healthy, "", ""},
		"any answer":                         {on(fine, func(e *evidence) { e.name.addrs = addrs("198.51.100.7") }), Healthy, "", ""},
		"filtered":                           {on(dead, func(e *evidence) { e.filtered, e.strict, e.server = 2, []string{"office0"}, Absent }), Unreachable, SegmentRPFilter, "on office0 drops"},
		"one drop of somebody else's packet": {on(dead, func(e *evidence) { e.filtered, e.strict = 1, []string{"office0"} }), Unreachable, SegmentTunnel, ""},
		"drops, but nothing is strict":       {on(dead, func(e *evidence) { e.filtered = 9 }), Unreachable, SegmentTunnel, ""},
		"filtered in part":                   {on(results(api(false), other(true)), func(e *evidence) { e.filtered, e.strict = 1, []string{"lan0"} }), APIUnreachable, SegmentRPFilter, "on lan0 drops"},
		"link down":                          {on(dead, func(e *evidence) { e.plan.Link.Up = false }), Unreachable, SegmentLink, "the link lan0 is down"},
		"no carrier":                         {on(fine, func(e *evidence) { e.plan.Link.Carrier = false }), Unreachable, SegmentLink, "check the cable"},
		"no NIC":                             {on(func(e *evidence) { e.plan.NIC, e.plan.Link = "", Link{Why: "no NIC is named eth7"} }), Unreachable, SegmentLink, "no NIC is named eth7"},
		"no address":                         {on(func(e *evidence) { e.plan.Link.Addressed = false }), Unreachable, SegmentAddress, "DHCP"},
		"link not told":                      {on(fine, func(e *evidence) { e.plan.Link = Link{} }), Healthy, "", ""},
		"clock behind":                       {on(fine, valid(48*time.Hour, year)), ClockWrong, SegmentClock, "at least 2 days behind"},
		"clock far ahead":                    {on(fine, valid(-year, -40*24*time.Hour)), ClockWrong, SegmentClock, "40 days past the end"},
		"certificate just out of date":       {on(fine, valid(-year, -time.Hour)), Healthy, "", ""},
		"certificate valid":                  {on(fine, valid(-year, year)), Healthy, "", ""},
		"black hole":                         {on(fine, hole), MTUBlackHole, SegmentMTU, "more than 1400 bytes vanish"},
		"black hole, fixed MTU":              {on(fine, hole, func(e *evidence) { e.plan.MTUFixed, e.plan.RouteMTU = true, 1450 }), MTUBlackHole, SegmentMTU, "the routes allow 1450; set MTU 1400"},
		"black hole, but routes fit":         {on(fine, hole, func(e *evidence) { e.plan.RouteMTU = 1400 }), Healthy, "", ""},
		"narrow, and routers say so":         {on(fine, func(e *evidence) { e.mtu = MTU{Path: 1400} }), Healthy, "", ""},
		"TLS hangs, MTU unknown":             {on(fine, hangs), MTUBlackHole, SegmentMTU, "TLS hangs, which is how"},
		"TLS hangs, small segments pass":     {on(fine, hangs, func(e *evidence) { e.handshake.small, e.mtu.Path = true, 1500 }), MTUBlackHole, SegmentMTU, "vanish on the way back"},
		"TLS hangs, packets pass":            {on(fine, hangs, func(e *evidence) { e.mtu.Path = 1500 }), APIUnreachable, SegmentAPI, "no TLS handshake"},
		"proxy":                              {on(fine, func(e *evidence) { e.proxy, e.plan.Proxy = Absent, "proxy.example:3128" }), ProxyUnreachable, SegmentProxy, "the proxy proxy.example:3128 does not"},
		"proxy and tunnel":                   {on(dead, func(e *evidence) { e.proxy = Absent }), Unreachable, SegmentTunnel, ""},
	} {
		e := siteEvidence()
		for _, fact := range tc.facts {
			fact(&e)
		}
		got := judge(e)
		if got.verdict != tc.verdict || got.segment != tc.segment || !strings.Contains(got.message, tc.says) {
			t.Errorf("%s: %s on %q: %q", name, got.verdict, got.segment, got.message)
		}
		if got.verdict.bad() != (got.message != "") || len(got.message) > 1024 {
			t.Errorf("%s: verdict %s with the message %q", name, got.verdict, got.message)
		}
	}
}

func TestDamper(t *testing.T) {
	t.Parallel()
	found := map[rune]finding{
		'+': {verdict: Healthy}, '-': {Unreachable, SegmentTunnel, "the tunnel is down"},
		'!': {Unreachable, SegmentLink, "the link is down"}, '?': {verdict: Unknown},
	}
	for name, tc := range map[string]struct{ rounds, shown string }{
		"one failure is held back":    {"+-+-+-+", "+++++++"},
		"a failure seen twice counts": {"+--+", "++-+"},
		"the first round counts":      {"--+", "--+"},
		"the link is certain":         {"+!+", "+!+"},
		"nothing to probe":            {"+?+--", "+?++-"},
		// Four changes: three are shown, and the way back is held for two minutes,
		// which begin anew with each failure that counts.
		"flapping":                     {"+--+--+++++++++++++", "++-++-" + "------------" + "+"},
		"once calm, changes are shown": {"+--+--+++++++++++++--+", "++-++-" + "------------" + "+" + "+-+"},
	} {
		d := damper{}
		now := time.Unix(0, 0)
		shown := ""
		for _, round := range tc.rounds {
			f := d.next(found[round], now, false)
			for letter, other := range found {
				if other.verdict == f.verdict && other.segment == f.segment {
					shown += string(letter)
				}
			}
			if f.verdict.bad() && !strings.Contains(f.message, " is down") {
				t.Errorf("%s: %q does not say what is broken", name, f.message)
			}
			now = now.Add(10 * time.Second)
		}
		if shown != tc.shown {
			t.Errorf("%s:\n%s was shown as\n%s, want\n%s", name, tc.rounds, shown, tc.shown)
		}
	}
}

func TestDamperSaysThatItFlaps(t *testing.T) {
	t.Parallel()
	bad, good := finding{Unreachable, SegmentTunnel, "the tunnel is down"}, finding{verdict: Healthy}
	d := damper{}
	now := time.Unix(0, 0)
	next := func(f finding, hurry bool) finding {
		now = now.Add(20 * time.Second)
		return d.next(f, now, hurry)
	}
	d.next(good, now, false)
	for range 2 {
		next(bad, false)
		next(bad, false)
		next(good, false)
	}
	held := next(good, false)
	if held.verdict != Unreachable || !strings.Contains(held.message, "flapping: 4 changes in 2 min") || !strings.Contains(held.message, "the tunnel is down") {
		t.Errorf("held: %+v", held)
	}
	if hurried := next(good, true); hurried.verdict != Healthy {
		t.Errorf("a trial waits: %+v", hurried)
	}
}

func TestSearchMTU(t *testing.T) {
	t.Parallel()
	for link := 576; link <= 9001; link += 25 {
		for path := 500; path <= link; path += 13 {
			for _, beyond := range []passage{vanishes, refused} {
				tries := 0
				size, hole, ok := searchMTU(link, func(size int, _ bool) passage {
					tries++
					if size <= path {
						return passes
					}
					return beyond
				})
				switch {
				case path < minMTU && link > minMTU && ok:
					t.Fatalf("link %d, path %d: found %d", link, path, size)
				case path < minMTU:
				case !ok || size > path || size <= path-nearMTU || tries > 18 || hole != (beyond == vanishes && size < link):
					t.Fatalf("link %d, path %d: found %d (%v), hole %v, by %d tries", link, path, size, ok, hole, tries)
				}
			}
		}
	}
	// Routers send few errors a second: the last one may come only to who waits.
	_, hole, ok := searchMTU(1500, func(size int, patient bool) passage {
		switch {
		case size <= 1400:
			return passes
		case patient:
			return refused
		}
		return vanishes
	})
	if hole || !ok {
		t.Errorf("a router that is slow to say so: hole %v, ok %v", hole, ok)
	}
	// The path died while it was measured.
	tries := 0
	if _, _, ok := searchMTU(1500, func(int, bool) passage {
		if tries++; tries == 2 {
			return passes
		}
		return vanishes
	}); ok {
		t.Error("measured a path that died")
	}
}
