package path

import (
	"context"
	"crypto/tls"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"hybridagent/netcfg"
)

// verdictTime bounds what the site's verdicts may take: a minute is promised.
const verdictTime = 60 * time.Second

// watched is a site with a monitor of its host.
type watched struct {
	*site
	t       *testing.T
	m       *Monitor
	reports chan struct{}
	plan    Plan
}

func watchSite(t *testing.T, change ...func(*watched)) *watched {
	t.Helper()
	w := &watched{site: newSite(t), t: t, reports: make(chan struct{}, 1)}
	w.dns.set(false, "10.100.0.10", "10.100.0.11")
	w.m = NewMonitor(w.host.prober(w.host.resolver("203.0.113.53:53")), func() {
		select {
		case w.reports <- struct{}{}:
		default:
		}
	})
	w.plan = Plan{
		NIC: "lan0", Source: netip.MustParseAddr("10.200.0.11"), APIEndpoint: "api.example:443", Targets: []string{"10.100.0.1"},
		Interval: time.Second, Routes: w.toVPC(0), Link: Link{Name: "lan0", Up: true, Carrier: true, Addressed: true, MTU: 1500},
		Gateway: netip.MustParseAddr("10.200.0.1"), Active: netip.MustParseAddr("10.200.0.2"),
		Servers:  []netcfg.ServerPath{{Server: netip.MustParseAddr("10.200.0.2")}},
		VPCCIDRs: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")}, Access: AccessPrivate,
		Internet: []string{"203.0.113.80:7443"}, Proxy: "10.200.0.1:3128",
	}
	for _, c := range change {
		c(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	w.m.Set(w.plan)
	return w
}

// await waits for a report that is as wanted.
func (w *watched) await(what string, as func(Report) bool) Report {
	w.t.Helper()
	deadline := time.After(verdictTime)
	for {
		if r := w.m.Report(); as(r) {
			return r
		}
		select {
		case <-w.reports:
		case <-deadline:
			w.t.Fatalf("no %s within %s; the report is %+v", what, verdictTime, w.m.Report())
		}
	}
}

func (w *watched) awaitHealthy() Report {
	w.t.Helper()
	return w.await("healthy path", func(r Report) bool { return r.Verdict == Healthy })
}

func (w *watched) awaitSegment(verdict Verdict, segment Segment) Report {
	w.t.Helper()
	return w.await("verdict "+verdict.String()+" on "+string(segment), func(r Report) bool { return r.Verdict == verdict && r.Segment == segment })
}

// set changes the plan as the lead of the stages does when the host has changed.
func (w *watched) set(change func(*Plan)) {
	change(&w.plan)
	w.m.Set(w.plan)
}

// TestEachSegmentIsNamed breaks each part of the way in turn, with real kernels.
func TestEachSegmentIsNamed(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		verdict Verdict
		segment Segment
		says    []string
		breaks  func(*watched)
		heals   func(*watched)
	}{
		"link down": {
			Unreachable, SegmentLink, []string{"lan0 is down"},
			func(w *watched) {
				w.host.ip("link set lan0 down")
				w.set(func(p *Plan) { p.Link.Up, p.Link.Carrier = false, false })
			},
			func(w *watched) {
				w.host.ip("link set lan0 up", w.toVPC(0), "route replace default via 10.200.0.1")
				w.set(func(p *Plan) { p.Link.Up, p.Link.Carrier = true, true })
			},
		},
		"address removed": {
			Unreachable, SegmentAddress, []string{"lan0 has no usable IPv4 address", "DHCP"},
			func(w *watched) {
				w.host.ip("address del 10.200.0.11/24 dev lan0")
				w.set(func(p *Plan) { p.NIC, p.Source, p.Routes, p.Link.Addressed = "", netip.Addr{}, "", false })
			},
			func(w *watched) {
				w.host.ip("address add 10.200.0.11/24 dev lan0", w.toVPC(0), "route replace default via 10.200.0.1")
				w.set(func(p *Plan) {
					p.NIC, p.Source, p.Routes, p.Link.Addressed = "lan0", netip.MustParseAddr("10.200.0.11"), w.toVPC(0), true
				})
			},
		},
		"gateway gone": {
			Unreachable, SegmentGateway, []string{"VPC path down", "the gateway 10.200.0.1 does not answer"},
			func(w *watched) { w.fabric.ip("link set p1 down") },
			func(w *watched) { w.fabric.ip("link set p1 up") },
		},
		"gateway and server gone": {
			Unreachable, SegmentGateway, []string{"neither the gateway 10.200.0.1 nor the VPN server 10.200.0.2 answers on lan0", "VLAN"},
			func(w *watched) { w.fabric.ip("link set p1 down", "link set p2 down") },
			func(w *watched) { w.fabric.ip("link set p1 up", "link set p2 up") },
		},
		"internet down, gateway silent to ICMP": {
			Unreachable, SegmentInternet, []string{"the internet does not answer (203.0.113.80:7443) behind the gateway 10.200.0.1"},
			func(w *watched) {
				w.gateway.nft(drop("input", "icmp type echo-request drop"))
				w.gateway.ip("link set wan0 down")
				w.set(func(p *Plan) { p.Proxy = "" }) // with a proxy, silence proves nothing
			},
			func(w *watched) { w.gateway.ip("link set wan0 up", "route add default via 198.51.100.2") },
		},
		"no DNS server": {
			NameUnresolved, SegmentDNS, []string{"no DNS server answers", "api.example:443", "resolv.conf"},
			func(w *watched) { w.dns.set(true) },
			func(w *watched) { w.dns.set(false, "10.100.0.10", "10.100.0.11") },
		},
		"no such name": {
			NameUnresolved, SegmentDNS, []string{"api.example:443 does not exist"},
			func(w *watched) { w.dns.set(false) },
			func(w *watched) { w.dns.set(false, "10.100.0.10", "10.100.0.11") },
		},
		"public answer": {
			WrongAnswer, SegmentDNS, []string{"resolves to public addresses (203.0.113.80)", "expected are private ones"},
			func(w *watched) { w.dns.set(false, "203.0.113.80") },
			func(w *watched) { w.dns.set(false, "10.100.0.10", "10.100.0.11") },
		},
		"proxy dead": {
			ProxyUnreachable, SegmentProxy, []string{"the proxy 10.200.0.1:3128 does not"},
			func(w *watched) { w.gateway.nft(drop("input", "tcp dport 3128 drop")) },
			func(w *watched) { w.gateway.nft("delete table ip faults") },
		},
		"VPN server dead": {
			Unreachable, SegmentServer, []string{"internet fine: the VPN server 10.200.0.2 does not answer on lan0"},
			func(w *watched) { w.fabric.ip("link set p2 down") },
			func(w *watched) { w.fabric.ip("link set p2 up") },
		},
		"tunnel dead": {
			Unreachable, SegmentTunnel, []string{"VPC path down, internet fine: the VPN server 10.200.0.2 answers, nothing behind it does; check the tunnel on it and the VPC's route back to 10.200.0.11"},
			func(w *watched) { w.servers[0].ip("link set vpn0 down") },
			func(w *watched) { w.servers[0].ip("link set vpn0 up", "route add 10.100.0.0/16 via 169.254.1.2") },
		},
		"tunnel dead, server silent to ICMP": {
			Unreachable, SegmentTunnel, []string{"the VPN server 10.200.0.2 answers, nothing behind it does"},
			func(w *watched) {
				w.servers[0].nft(drop("input", "icmp type echo-request drop"))
				w.servers[0].ip("link set vpn0 down")
			},
			func(w *watched) { w.servers[0].ip("link set vpn0 up", "route add 10.100.0.0/16 via 169.254.1.2") },
		},
		"API port dropped": {
			APIUnreachable, SegmentAPI, []string{"10.100.0.10:443 (no answer within 3s), 10.100.0.11:443 (no answer within 3s)"},
			func(w *watched) { w.vpc.nft(drop("input", "tcp dport 443 drop")) },
			func(w *watched) { w.vpc.nft("delete table ip faults") },
		},
		"API port of one address refused": {
			APIUnreachable, SegmentAPI, []string{"10.100.0.11:443 (connection refused)", "addresses that firewalls allow"},
			func(w *watched) { w.vpc.nft(drop("input", "ip daddr 10.100.0.11 tcp dport 443 reject with tcp reset")) },
			func(w *watched) { w.vpc.nft("delete table ip faults") },
		},
		"reverse-path filter": {
			Unreachable, SegmentRPFilter, []string{"reverse-path filter on office0 drops the answers", "net.ipv4.conf.office0.rp_filter=2"},
			func(w *watched) {
				w.host.sysctl("ipv4/conf/office0/rp_filter", "1")
				w.servers[0].ip("route add 10.200.0.11/32 via 192.168.77.11 dev office0")
			},
			func(w *watched) { w.servers[0].ip("route del 10.200.0.11/32") },
		},
		"clock": {
			ClockWrong, SegmentClock, []string{"the clock of this host is at least 1h", "10.100.0.10:443", "NTP"},
			func(w *watched) {
				w.certificate.Store(newCertificate(w.t, time.Now().Add(90*time.Minute)))
				w.set(func(p *Plan) { p.Routes += "\n" }) // checked at each change of the way
			},
			func(w *watched) { w.certificate.Store(newCertificate(w.t, time.Now().Add(-time.Hour))) },
		},
	}
	var all sync.WaitGroup
	for name, tc := range cases {
		all.Go(func() {
			t.Run(name, func(t *testing.T) {
				w := watchSite(t)
				w.awaitHealthy()
				tc.breaks(w)
				r := w.awaitSegment(tc.verdict, tc.segment)
				for _, part := range tc.says {
					if !strings.Contains(r.Message, part) {
						t.Errorf("%q does not say %q", r.Message, part)
					}
				}
				tc.heals(w)
				if r := w.awaitHealthy(); r.Segment != SegmentNone || r.Message != "" || r.Since.IsZero() {
					t.Errorf("healthy again: %+v", r)
				}
			})
		})
	}
	all.Wait()
}

// drop is a firewall with one rule.
func drop(hook, rule string) string {
	return "table ip faults { chain c { type filter hook " + hook + " priority 0; " + rule + "; }; }"
}

// narrow makes the tunnel of server 1 carry no more than 1,400 bytes; silently: its
// routers drop the ICMP errors that say so.
func (s *site) narrow(silently bool) {
	s.servers[0].ip("link set vpn0 mtu 1400")
	s.edge.ip("link set vpn1 mtu 1400")
	if silently {
		for _, router := range []*space{s.servers[0], s.edge} {
			router.nft(drop("output", "icmp type destination-unreachable icmp code 4 drop"))
		}
	}
}

// handshake does TLS with the API as the host's own programs do.
func (s *site) handshake(t *testing.T) error {
	t.Helper()
	var err error
	s.host.do(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		conn, dialErr := dial(ctx, Way{}, netip.MustParseAddrPort("10.100.0.10:443"), 0)
		if err = dialErr; err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	})
	return err
}

func near(mtu, want int) bool { return mtu <= want && mtu > want-nearMTU }

func TestBlackHole(t *testing.T) {
	t.Parallel()
	w := watchSite(t, func(w *watched) { w.narrow(true) })
	r := w.awaitSegment(MTUBlackHole, SegmentMTU)
	if !near(r.MTU.Path, 1400) || !r.MTU.BlackHole || !strings.Contains(r.Message, "vanish") {
		t.Errorf("report %+v", r)
	}
	if err := w.handshake(t); err == nil {
		t.Error("TLS works although the path swallows its packets: nothing is tested")
	}
	w.host.ip(w.toVPC(r.MTU.Path))
	w.set(func(p *Plan) { p.RouteMTU, p.Routes = r.MTU.Path, w.toVPC(r.MTU.Path) })
	if healed := w.awaitHealthy(); healed.MTU.Path != r.MTU.Path {
		t.Errorf("the path MTU is forgotten with the route that carries it: %+v", healed.MTU)
	}
	if err := w.handshake(t); err != nil {
		t.Errorf("TLS with the MTU on the route: %v", err)
	}
}

// TestHonestRouters: the kernel learns by itself what a router tells it.
func TestHonestRouters(t *testing.T) {
	t.Parallel()
	w := watchSite(t, func(w *watched) { w.narrow(false) })
	r := w.await("path MTU", func(r Report) bool { return r.MTU.Path != 0 && r.Verdict != Unknown })
	if !near(r.MTU.Path, 1400) || r.MTU.BlackHole || r.Verdict != Healthy {
		t.Errorf("report %+v", r)
	}
	if err := w.handshake(t); err != nil {
		t.Errorf("TLS: %v", err)
	}
}

// TestDeadServer: of two VPN servers each is judged by its own way, and the death
// of one is told within the time that a failover has.
func TestDeadServer(t *testing.T) {
	t.Parallel()
	told := make(chan bool, 64)
	first, second := netip.MustParseAddr("10.200.0.2"), netip.MustParseAddr("10.200.0.3")
	w := watchSite(t, func(w *watched) {
		w.host.ip("route add 10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11 table 26624",
			"route add 10.100.0.0/16 via 10.200.0.3 dev lan0 src 10.200.0.11 table 26625",
			"rule add fwmark 0x60/0xff lookup 26624 priority 26800", "rule add fwmark 0x61/0xff lookup 26625 priority 26801")
		w.plan.Servers = []netcfg.ServerPath{{Server: first, Mark: 0x60}, {Server: second, Mark: 0x61}}
		w.plan.Interval = time.Hour // the servers' own probes are what counts
		w.m.OnServer = func(server netip.Addr, ok bool, _ time.Time) {
			if server == first {
				told <- ok
			}
		}
	})
	ok := func(r Report, one, two bool) bool {
		return len(r.Servers) == 2 && !r.Servers[0].At.IsZero() && !r.Servers[1].At.IsZero() && r.Servers[0].OK == one && r.Servers[1].OK == two
	}
	w.await("both servers", func(r Report) bool { return ok(r, true, true) && r.Verdict == Healthy })
	w.fabric.ip("link set p2 down")
	// A failover wants to see a failure twice.
	for deadline, failures := time.After(10*time.Second), 0; failures < 2; {
		select {
		case up := <-told:
			if failures++; up {
				failures = 0
			}
		case <-deadline:
			t.Fatalf("the server's death was told %d times within 10 s, want twice", failures)
		}
	}
	r := w.await("the first server's death", func(r Report) bool { return ok(r, false, true) })
	if r.Servers[0].Error == "" || r.Servers[1].Error != "" || r.Servers[0].Server != first {
		t.Errorf("servers %+v", r.Servers)
	}
	w.awaitSegment(Unreachable, SegmentServer)
	w.fabric.ip("link set p2 up")
	w.await("the first server's return", func(r Report) bool { return ok(r, true, true) && r.Verdict == Healthy })
}

func TestStrictIsReadOfTheKernel(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.ip("link add a0 type veth peer name a1", "link add b0 type veth peer name b1", "link set a0 up", "link set b0 up",
		"address add 10.1.0.1/24 dev a0", "address add 10.2.0.1/24 dev b0")
	p := s.prober(nil)
	strict := func(all, a0, b0, target string) string {
		s.sysctl("ipv4/conf/all/rp_filter", all)
		s.sysctl("ipv4/conf/a0/rp_filter", a0)
		s.sysctl("ipv4/conf/b0/rp_filter", b0)
		links, err := p.Strict("a0", []netip.Addr{netip.MustParseAddr(target)})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(links, " ")
	}
	for _, tc := range []struct{ all, a0, b0, target, want string }{
		{"0", "0", "0", "10.1.0.9", ""},
		{"0", "0", "1", "10.1.0.9", "b0"},
		{"0", "1", "1", "10.1.0.9", "b0"},
		{"0", "1", "1", "10.2.0.9", "a0"}, // answers at a0 come from b0's side
		{"0", "1", "0", "10.1.0.9", "a0"},
		{"2", "1", "1", "10.1.0.9", ""}, // the greater one holds: loose
		{"1", "0", "0", "10.1.0.9", "b0"},
		{"1", "2", "2", "10.1.0.9", ""},
	} {
		if got := strict(tc.all, tc.a0, tc.b0, tc.target); got != tc.want {
			t.Errorf("all=%s a0=%s b0=%s, target %s: %q, want %q", tc.all, tc.a0, tc.b0, tc.target, got, tc.want)
		}
	}
}

func TestNetstatIsRead(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := netstatValue(string(text), "IPReversePathFilter"); err != nil {
		t.Errorf("of this kernel: %v", err)
	}
	if n, err := netstatValue("TcpExt: A B\nTcpExt: 1 2\nIpExt: C D\nIpExt: 3 4\n", "D"); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, spoilt := range []string{"", "D", "X: D\n", "X: D\nX:\n", "X: D\nX: d\n"} {
		if _, err := netstatValue(spoilt, "D"); err == nil {
			t.Errorf("%q was read", spoilt)
		}
	}
}
