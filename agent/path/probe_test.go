package path

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace moves the test's thread into a network namespace of its own; the
// thread ends with the test, locked.
func inNamespace(t *testing.T, pingRange string) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("cannot make a network namespace (needs root): %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err == nil {
		err = os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte(pingRange), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func loopback() Way { return Way{NIC: "lo", Source: netip.MustParseAddr("127.0.0.1")} }

func TestEcho(t *testing.T) {
	inNamespace(t, "0 2147483647")
	if err := echo(t.Context(), loopback(), netip.MustParseAddr("127.0.0.2")); err != nil {
		t.Errorf("the loopback does not answer: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	unreachable := echo(ctx, loopback(), netip.MustParseAddr("10.1.1.1"))
	if unreachable == nil || errors.Is(unreachable, errNoPing) {
		t.Errorf("an address without a route: %v", unreachable)
	}
	inNamespace(t, "1 0")
	if err := echo(t.Context(), loopback(), netip.MustParseAddr("127.0.0.2")); !errors.Is(err, errNoPing) || !strings.Contains(err.Error(), "ping_group_range") {
		t.Errorf("where ICMP is not available: %v", err)
	}
}

func TestConnectTCP(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := netip.MustParseAddrPort(listener.Addr().String())
	if err := connectTCP(t.Context(), loopback(), target); err != nil {
		t.Errorf("a listener on the loopback: %v", err)
	}
	_ = listener.Close()
	if err := connectTCP(t.Context(), loopback(), target); err == nil || err.Error() != "connection refused" {
		t.Errorf("nobody listens: %v", err)
	}
	nowhere := loopback()
	nowhere.NIC = "nosuch0"
	if err := connectTCP(t.Context(), nowhere, target); err == nil {
		t.Error("a probe left by a NIC that is not there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := connectTCP(ctx, loopback(), target); err == nil || time.Since(began) > time.Second {
		t.Errorf("cancelled: %v after %s", err, time.Since(began))
	}
}

func FuzzEchoReply(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, message []byte) {
		if isEchoReply(message, 1) && (len(message) < 8 || message[0] != 0) {
			t.Fatal("taken for a reply")
		}
	})
}
