package agent

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// router makes the far end of lan0 a default gateway in a network namespace of its
// own, behind which the VPC's API endpoint 10.100.0.10:443 answers. It has the
// addresses of two VPN servers as well, 10.200.0.2 and 10.200.0.4; 10.200.0.3 is a
// black hole.
//
// The returned function runs another in that namespace.
func router(t *testing.T) (inside func(do func() error)) {
	t.Helper()
	type opened struct {
		ns       int
		listener net.Listener
		err      error
	}
	spaces, moved, answers := make(chan opened), make(chan struct{}), make(chan opened)
	orders, done := make(chan func() error), make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		ns, err := ownNamespace()
		spaces <- opened{ns: ns, err: err}
		if err != nil {
			return
		}
		<-moved
		listener, err := gateway("lan0-far")
		answers <- opened{listener: listener, err: err}
		for do := range orders {
			done <- do()
		}
	}()
	space := <-spaces
	ok(t, space.err)
	defer func() { _ = unix.Close(space.ns) }()
	ok(t, netlink.LinkSetNsFd(must(netlink.LinkByName("lan0-far"))(t), space.ns))
	close(moved)
	answer := <-answers
	ok(t, answer.err)
	go func() {
		for conn, err := answer.listener.Accept(); err == nil; conn, err = answer.listener.Accept() {
			_ = conn.Close() // no TLS is spoken here
		}
	}()
	t.Cleanup(func() { close(orders); _ = answer.listener.Close() })
	lan := must(netlink.LinkByName("lan0"))(t)
	ok(t, netlink.RouteAdd(&netlink.Route{LinkIndex: lan.Attrs().Index, Gw: net.ParseIP("10.200.0.1"), Priority: 200}))
	return func(do func() error) {
		t.Helper()
		orders <- do
		ok(t, <-done)
	}
}

// serverUp adds or removes a VPN server's address in the router's namespace.
func serverUp(cidr string, up bool) func() error {
	return func() error {
		link, err := netlink.LinkByName("lan0-far")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if up {
			return netlink.AddrAdd(link, addr)
		}
		return netlink.AddrDel(link, addr)
	}
}

func ownNamespace() (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("cannot make a network namespace (needs root): %w", err)
	}
	return unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// gateway gives the calling thread's namespace its addresses and listens.
func gateway(far string) (net.Listener, error) {
	for _, at := range []struct{ name, cidr string }{
		{far, "10.200.0.1/24"}, {far, "10.200.0.2/24"}, {far, "10.200.0.4/24"}, {"lo", "10.100.0.10/32"},
	} {
		link, err := netlink.LinkByName(at.name)
		if err != nil {
			return nil, err
		}
		addr, err := netlink.ParseAddr(at.cidr)
		if err != nil {
			return nil, err
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return nil, err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return nil, err
		}
	}
	return net.Listen("tcp4", "10.100.0.10:443") //nolint:noctx // of the test's life
}

// TestWithoutAVPNServerThePathIsProbed: no route is ours then, and the default
// gateway is judged by what answers behind it.
func TestWithoutAVPNServerThePathIsProbed(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plane, m := joined(t)
	router(t)
	plane.Assign(1, shop(func(a *agentv1.Assignment) {
		a.Network.VpnServers, a.Node.VpnServers = nil, nil
		a.Probes.ApiEndpoint = "10.100.0.10:443"
	}))
	plane.Await("ACK", answered(1))
	m.awaitCondition(ConditionRoutesInstalled, "true", "NotRequired")
	contains(t, m.awaitCondition(ConditionPathHealthy, "true", "Healthy"), "lan0")
	s := m.await("answer of the API endpoint", func(s *localv1.Status) bool { return len(s.GetPath()) == 1 && s.GetPath()[0].GetOk() })
	if s.GetNetwork().GetVpnServer() != "" || s.GetNetwork().GetNodeIp() != "10.200.0.11" || len(routes(t)) != 0 {
		t.Errorf("network %v, routes %v", s.GetNetwork(), routes(t))
	}
	plane.Await("ready path", func(m *agentv1.AgentMessage) bool {
		c := conditionIn(m.GetStatus().GetConditions(), ConditionPathHealthy)
		return c.GetStatus() == agentv1.ConditionStatus_CONDITION_STATUS_TRUE
	})
}
