package path

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// space is a network namespace of the test's own.
type space struct {
	t  *testing.T
	fd int
}

func newSpace(t *testing.T) *space {
	t.Helper()
	type made struct {
		fd  int
		err error
	}
	result := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- made{err: err}
			return
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		result <- made{fd, err}
	}()
	m := <-result
	if m.err != nil {
		t.Fatalf("cannot make a network namespace (needs root): %v", m.err)
	}
	t.Cleanup(func() { _ = unix.Close(m.fd) })
	s := &space{t: t, fd: m.fd}
	s.sysctl("ipv4/conf/all/rp_filter", "0")
	s.sysctl("ipv4/conf/default/rp_filter", "0")
	// A server without its tunnel would send hosts to the gateway, who remember it.
	s.sysctl("ipv4/conf/all/send_redirects", "0")
	s.sysctl("ipv4/conf/default/send_redirects", "0")
	s.ip("link set lo up")
	return s
}

// do runs f on a thread in the namespace and waits for it. The resolver dials beside
// the lookup that asked it to, and may do so after the test: then nothing is run.
func (s *space) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err == nil {
			f()
		}
	}()
	<-done
}

// run starts a program in the namespace.
func (s *space) run(input, name string, args ...string) {
	s.t.Helper()
	var out []byte
	var err error
	s.do(func() {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(input)
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s\n%s", name, args, err, input, out)
	}
}

func (s *space) ip(lines ...string) {
	s.t.Helper()
	s.run(strings.Join(lines, "\n"), "ip", "-batch", "-")
}
func (s *space) nft(lines ...string) {
	s.t.Helper()
	s.run(strings.Join(lines, "\n"), "nft", "-f", "-")
}
func (s *space) sysctl(key, v string) { s.t.Helper(); s.write("/proc/sys/net/"+key, v) }

func (s *space) write(path, text string) {
	s.t.Helper()
	var err error
	s.do(func() { err = os.WriteFile(path, []byte(text), 0o600) })
	if err != nil {
		s.t.Fatal(err)
	}
}

// link joins two namespaces by a veth pair of the given names, both up.
func link(a *space, nameA string, b *space, nameB string) {
	a.t.Helper()
	a.run("", "ip", "link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", "/proc/"+strconv.Itoa(os.Getpid())+"/fd/"+strconv.Itoa(b.fd))
	a.ip("link set " + nameA + " up")
	b.ip("link set " + nameB + " up")
}

// listen accepts connections of a namespace until the test ends; serve closes them.
func (s *space) listen(address string, serve func(net.Conn)) net.Listener {
	s.t.Helper()
	var listener net.Listener
	var err error
	s.do(func() { listener, err = net.Listen("tcp4", address) })
	if err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	s.t.Cleanup(func() { _ = listener.Close(); <-ended })
	return listener
}

func hangUp(conn net.Conn) { _ = conn.Close() }

// prober sends the system's probes from the namespace.
func (s *space) prober(lookup func(context.Context, string) ([]netip.Addr, error)) Prober {
	p, in := System(), System()
	p.Lookup = lookup
	p.TCP = func(ctx context.Context, way Way, to netip.AddrPort) (err error) {
		s.do(func() { err = in.TCP(ctx, way, to) })
		return err
	}
	p.ICMP = func(ctx context.Context, way Way, to netip.Addr) (err error) {
		s.do(func() { err = in.ICMP(ctx, way, to) })
		return err
	}
	p.Sized = func(ctx context.Context, way Way, to netip.Addr, size int) (err error) {
		s.do(func() { err = in.Sized(ctx, way, to, size) })
		return err
	}
	p.TLS = func(ctx context.Context, way Way, to netip.AddrPort, name string, mss int) (c Certificate, err error) {
		s.do(func() { c, err = in.TLS(ctx, way, to, name, mss) })
		return c, err
	}
	p.Neighbour = func(ctx context.Context, addr netip.Addr) (state Presence) {
		s.do(func() { state = in.Neighbour(ctx, addr) })
		return state
	}
	p.Filtered = func() (n uint64, err error) {
		s.do(func() { n, err = in.Filtered() })
		return n, err
	}
	p.Strict = func(nic string, to []netip.Addr) (links []string, err error) {
		s.do(func() { links, err = in.Strict(nic, to) })
		return links, err
	}
	return p
}

// resolver asks the DNS server at the address from the namespace.
func (s *space) resolver(server string) func(context.Context, string) ([]netip.Addr, error) {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		err = net.ErrClosed
		s.do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, "udp4", server) })
		return conn, err
	}}
	return func(ctx context.Context, host string) ([]netip.Addr, error) { return r.LookupNetIP(ctx, "ip4", host) }
}

// site is a host with a gateway, two VPN servers, the internet and a VPC.
//
//	host ── switch ── gateway ── internet ── edge ── vpc
//	          │  └─── server 2 ··· vxlan ······╯│
//	          └────── server 1 ··· vxlan ·······╯
//
// The host's second NIC, office0, leads to server 1 as well.
type site struct {
	host, fabric, gateway, internet, edge, vpc *space
	servers                                    [2]*space

	dns         *nameServer
	certificate atomic.Pointer[certificate]
	api         [2]net.Listener
	proxy       net.Listener
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	for _, p := range []**space{&s.host, &s.fabric, &s.gateway, &s.internet, &s.edge, &s.vpc, &s.servers[0], &s.servers[1]} {
		*p = newSpace(t)
	}
	s.wire()
	s.address()
	s.dns = serveNames(s.internet, "203.0.113.53:53")
	s.internet.listen("203.0.113.80:7443", hangUp)
	s.proxy = s.gateway.listen("10.200.0.1:3128", hangUp)
	s.certificate.Store(newCertificate(t, time.Now().Add(-time.Hour)))
	for i, address := range []string{"10.100.0.10:443", "10.100.0.11:443"} {
		s.api[i] = s.vpc.listen(address, s.serveTLS)
	}
	return s
}

func (s *site) wire() {
	s.fabric.ip("link add br0 type bridge", "link set br0 up")
	for i, end := range []*space{s.host, s.gateway, s.servers[0], s.servers[1]} {
		port := "p" + strconv.Itoa(i)
		link(end, "lan0", s.fabric, port)
		s.fabric.ip("link set " + port + " master br0")
	}
	link(s.host, "office0", s.servers[0], "office0")
	link(s.gateway, "wan0", s.internet, "site0")
	link(s.edge, "wan0", s.internet, "edge0")
	link(s.edge, "vpc0", s.vpc, "eth0")
	for _, router := range []*space{s.gateway, s.internet, s.edge, s.servers[0], s.servers[1]} {
		router.sysctl("ipv4/ip_forward", "1")
	}
	s.host.sysctl("ipv4/ping_group_range", "0 2147483647")
}

func (s *site) address() {
	s.host.ip("address add 10.200.0.11/24 dev lan0", "address add 192.168.77.11/24 dev office0", "route add default via 10.200.0.1")
	s.host.ip(s.toVPC(0))
	s.gateway.ip("address add 10.200.0.1/24 dev lan0", "address add 198.51.100.1/30 dev wan0", "route add default via 198.51.100.2")
	s.internet.ip("address add 198.51.100.2/30 dev site0", "address add 198.51.100.5/30 dev edge0", "route add 10.200.0.0/24 via 198.51.100.1",
		"address add 203.0.113.53/32 dev lo", "address add 203.0.113.80/32 dev lo")
	s.edge.ip("address add 198.51.100.6/30 dev wan0", "route add default via 198.51.100.5", "address add 10.100.255.1/30 dev vpc0",
		"route add 10.100.0.0/24 via 10.100.255.2")
	s.vpc.ip("address add 10.100.255.2/30 dev eth0", "address add 10.100.0.1/32 dev lo", "address add 10.100.0.10/32 dev lo",
		"address add 10.100.0.11/32 dev lo", "route add default via 10.100.255.1")
	for i, server := range s.servers {
		n := strconv.Itoa(i + 1)
		own := "10.200.0." + strconv.Itoa(i+2)
		server.ip("address add "+own+"/24 dev lan0", "route add default via 10.200.0.1",
			"link add vpn0 type vxlan id "+n+" local "+own+" remote 198.51.100.6 dstport 4789 dev lan0",
			"link set vpn0 up", "address add 169.254."+n+".1/30 dev vpn0", "route add 10.100.0.0/16 via 169.254."+n+".2")
		s.edge.ip("link add vpn"+n+" type vxlan id "+n+" local 198.51.100.6 remote "+own+" dstport 4789 dev wan0",
			"link set vpn"+n+" up", "address add 169.254."+n+".2/30 dev vpn"+n,
			"route add "+own+" via 198.51.100.5") // not by the tunnel that leads there
	}
	s.servers[0].ip("address add 192.168.77.2/24 dev office0")
	s.edge.ip("route add 10.200.0.0/24 via 169.254.1.1")
	// The edge answers by server 1; what comes by server 2 carries its address.
	s.servers[1].nft("table ip t { chain c { type nat hook postrouting priority 100; oifname vpn0 masquerade; }; }")
}

// toVPC is the host's route to the VPC; mtu 0: the link's.
func (s *site) toVPC(mtu int) string {
	route := "route replace 10.100.0.0/16 via 10.200.0.2 dev lan0 src 10.200.0.11"
	if mtu > 0 {
		route += " mtu " + strconv.Itoa(mtu) + " advmss " + strconv.Itoa(mtu-40)
	}
	return route
}
