package netcfg

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

func TestSetIsIdempotent(t *testing.T) {
	k, _, want := managed(t, KeeperOptions{})
	a := setAll(t, k, want)
	if a.Added+a.Replaced+a.Deleted != 0 || !slices.Equal(a.Routes, []Route{want}) {
		t.Errorf("second Set: %+v", a)
	}
}

func TestKeeperLeavesOldRoutesUntilTheFirstSet(t *testing.T) {
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	must(t, netlink.RouteAdd(vishRoute(nic, vpc, server, int(OwnProtocol))))
	must(t, netlink.RouteAdd(vishRoute(nic, "10.111.0.0/16", server, int(OwnProtocol))))
	k := startKeeper(t, goIn, KeeperOptions{})
	if s := k.Status(); len(s.Installed) != 2 || len(kernel(t, "10.111.0.0/16")) != 1 {
		t.Fatalf("status %+v", s)
	}
	want := ours(nic, vpc, server, nodeIP)
	// What no record tells of is somebody else's, in spite of its protocol.
	a := setAll(t, k, want)
	if a.Replaced != 1 || a.Deleted != 0 || len(a.Unrecorded) != 1 || !slices.Equal(a.Routes, []Route{want}) {
		t.Errorf("achieved %+v", a)
	}
	former := []RouteID{a.Unrecorded[0].ID()}
	a, err := k.Set(context.Background(), Desired{Routes: []Route{want}, Former: former})
	must(t, err)
	if a.Deleted != 1 || len(a.Unrecorded) != 0 || len(kernel(t, "10.111.0.0/16")) != 0 {
		t.Errorf("with the record: %+v", a)
	}
}

func TestRoutesOutliveTheKeeper(t *testing.T) {
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	want := probed(nic)
	k := NewKeeper(zap.NewNop(), KeeperOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	goIn(func() { ended <- k.Run(ctx) })
	_, err := k.Set(context.Background(), want)
	must(t, err)
	cancel()
	must(t, <-ended)
	if left, err := OwnRoutes(); err != nil || !slices.Equal(left, want.Routes) || !slices.Equal(kernelRules(t), want.Rules) {
		t.Errorf("after the keeper routes %v, rules %v, %v", left, kernelRules(t), err)
	}
	if _, err := k.Set(context.Background(), Desired{}); err == nil || !strings.Contains(err.Error(), "has stopped") {
		t.Errorf("Set after the end: %v", err)
	}
	if err := k.Run(context.Background()); err == nil {
		t.Error("Run ran twice")
	}
}

func TestSetWaitsForRun(t *testing.T) {
	k := NewKeeper(zap.NewNop(), KeeperOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := k.Set(ctx, Desired{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Set without Run: %v", err)
	}
}

func TestSetReturnsWhatWasAchieved(t *testing.T) {
	k, nic, want := managed(t, KeeperOptions{})
	good := ours(nic, "10.101.0.0/16", server, nodeIP)
	bad := ours(nic, "10.102.0.0/16", "10.77.0.1", nodeIP) // not on-link: the kernel says no
	a, err := k.Set(context.Background(), Desired{Routes: []Route{want, good, bad}})
	if !errors.Is(err, syscall.ENETUNREACH) || !strings.Contains(err.Error(), "10.102.0.0/16") {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(a.Routes, []Route{want, good}) || len(a.Missing) != 1 || a.Missing[0].Route != bad {
		t.Errorf("achieved %+v", a)
	}
	// The missing one is installed as soon as the host's addresses allow it.
	addAddr(t, nic, "10.77.0.9/24")
	eventually(t, "the third route is there", holds(t, bad))
}

func TestSetRefusesWhatItCouldNotOwn(t *testing.T) {
	t.Parallel()
	k := NewKeeper(zap.NewNop(), KeeperOptions{})
	const good = "10.100.0.0/16 via 10.200.0.2 dev 2\n"
	for text, reason := range map[string]string{
		"10.100.0.0/16 via 10.200.0.2 dev 2 proto 4":   "not protocol 104",
		"10.100.0.0/16 via 10.200.0.2 dev 2 table 100": "not protocol 104",
		"10.100.0.1/16 via 10.200.0.2 dev 2":           "no masked IPv4 prefix",
		"fd00::/8 dev 2":                               "no masked IPv4 prefix",
		"10.100.0.0/16 via 10.200.0.2":                 "exactly one outgoing link",
		"10.100.0.0/16 via fd00::1 dev 2":              "must be IPv4",
		good + good:                                    "wanted twice",
	} {
		if _, err := k.Set(context.Background(), Desired{Routes: parseRoutes(t, text)}); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSetFromManyGoroutines(t *testing.T) {
	k, nic, want := managed(t, KeeperOptions{})
	other := ours(nic, "10.101.0.0/16", server, nodeIP)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				routes := [][]Route{{want}, {want, other}}[i%2]
				if _, err := k.Set(context.Background(), Desired{Routes: routes}); err != nil {
					t.Error(err)
				}
				k.Status()
			}
		})
	}
	wg.Wait()
	setAll(t, k, other)
	if len(kernel(t, vpc)) != 0 || !holds(t, other)() {
		t.Error("the last Set does not hold")
	}
}

// nobody runs f in the test's namespace on a thread without any right.
func nobody(t *testing.T, goIn func(func()), f func()) {
	t.Helper()
	done := make(chan error, 1)
	goIn(func() {
		// The raw call changes this thread alone, which ends with its goroutine.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			done <- errno
			return
		}
		f()
		done <- nil
	})
	must(t, <-done)
}

func TestKeeperWithoutRightsSaysSo(t *testing.T) {
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", nodeIP+"/24")
	k := NewKeeper(zap.NewNop(), KeeperOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, err := k.Set(ctx, Desired{Routes: []Route{ours(nic, vpc, server, nodeIP)}})
		if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("error %v", err)
		}
	}()
	nobody(t, goIn, func() {
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
