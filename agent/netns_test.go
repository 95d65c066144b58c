package agent

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

// inside marks the process that runs in a network namespace of its own.
const inside = "HYBRID_AGENT_TEST_INSIDE"

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// inNamespace runs the test again in a process with a fresh network namespace, and
// mounts of its own, and reports what came of it; it returns true in that process. The daemon has
// goroutines on many threads, so a namespace of one thread would not do.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	t.Parallel()
	// Not the test's name alone: a subtest has none of its own process.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=90s")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in its network namespace (needs root): %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("the test did not run in its network namespace:\n%s", out)
	}
	return false
}

// site makes the NICs of a host: lan0 with the VPN server's subnet and office0
// with the better default route.
func site(t *testing.T) {
	t.Helper()
	up(t, "lo")
	addNIC(t, "lan0", "10.200.0.11/24")
	addNIC(t, "office0", "192.168.77.11/24")
	link := must(netlink.LinkByName("office0"))(t)
	ok(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP("192.168.77.1"), Priority: 50}))
}

// addNIC makes a NIC with a carrier: one end of a veth pair.
func addNIC(t *testing.T, name, cidr string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	ok(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-far"}))
	up(t, name)
	up(t, name+"-far")
	link := must(netlink.LinkByName(name))(t)
	ok(t, netlink.AddrAdd(link, must(netlink.ParseAddr(cidr))(t)))
}

func up(t *testing.T, name string) {
	t.Helper()
	ok(t, netlink.LinkSetUp(must(netlink.LinkByName(name))(t)))
}

// routes lists our routes as the kernel has them.
func routes(t *testing.T) []string {
	t.Helper()
	filter := &netlink.Route{Protocol: 0x68}
	list, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_PROTOCOL)
	ok(t, err)
	var texts []string
	for _, r := range list {
		link := must(netlink.LinkByIndex(r.LinkIndex))(t)
		texts = append(texts, r.Dst.String()+" via "+r.Gw.String()+" dev "+link.Attrs().Name+" src "+r.Src.String())
	}
	return texts
}

func deleteRoute(t *testing.T, cidr string) {
	t.Helper()
	_, dst, err := net.ParseCIDR(cidr)
	ok(t, err)
	ok(t, netlink.RouteDel(&netlink.Route{Dst: dst}))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return value
	}
}
