package netcfg

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// enterNetns moves the test into a network namespace of its own and returns the
// namespace for goroutines to join. The thread is never unlocked, so that it ends
// with the test and no other goroutine ever runs on it.
func enterNetns(t testing.TB) (goIn func(func())) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("cannot make a network namespace: %v; run the tests as root or under `unshare -Urn`", err)
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	return func(f func()) {
		go func() {
			runtime.LockOSThread()
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				panic(err)
			}
			f()
		}()
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// addNIC makes a veth pair with both ends up in the current namespace and gives
// one end the addresses.
func addNIC(t testing.TB, name string, addrs ...string) netlink.Link {
	t.Helper()
	la := netlink.NewLinkAttrs()
	la.Name = name
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: "p-" + name}))
	link, err := netlink.LinkByName(name)
	must(t, err)
	peer, err := netlink.LinkByName("p-" + name)
	must(t, err)
	must(t, netlink.LinkSetUp(peer))
	must(t, netlink.LinkSetUp(link))
	for _, a := range addrs {
		addAddr(t, link, a)
	}
	return link
}

func addAddr(t testing.TB, link netlink.Link, addr string) {
	t.Helper()
	a, err := netlink.ParseAddr(addr)
	must(t, err)
	must(t, netlink.AddrAdd(link, a))
}

func vishRoute(link netlink.Link, dst, via string, protocol int) *netlink.Route {
	_, n, err := net.ParseCIDR(dst)
	if err != nil {
		panic(err)
	}
	return &netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: n, Gw: net.ParseIP(via),
		Protocol: netlink.RouteProtocol(protocol), Table: TableMain,
	}
}

// ipRule has somebody else (vishvananda/netlink) write a rule.
func ipRule(r Rule, write func(*netlink.Rule) error) error {
	mask := r.Mask
	v := netlink.NewRule()
	v.Family, v.Priority, v.Mark, v.Mask, v.Table, v.Protocol = netlink.FAMILY_V4, int(r.Priority), r.Mark, &mask, r.Table, r.Protocol
	return write(v)
}

// ours is the route as PlanRoutes makes it.
func ours(link netlink.Link, dst, via, src string) Route {
	return Route{
		Dst: netip.MustParsePrefix(dst), Gateway: netip.MustParseAddr(via), Source: netip.MustParseAddr(src),
		LinkIndex: link.Attrs().Index, Protocol: OwnProtocol, Type: TypeUnicast, Table: TableMain,
	}
}

// eventually polls a condition for five seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within 5 s: %s", what)
		case <-tick.C:
		}
	}
}

// receive waits five seconds for what a callback sends.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(5 * time.Second):
		t.Fatalf("not within 5 s: %s", what)
		panic("not reached")
	}
}
