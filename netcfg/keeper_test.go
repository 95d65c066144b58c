package netcfg

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startKeeper runs a Keeper without periodic resync in the test's namespace.
func startKeeper(t *testing.T, goIn func(func()), opt KeeperOptions) *Keeper {
	t.Helper()
	k := NewKeeper(zap.NewNop(), opt)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	goIn(func() { ended <- k.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Run did not end on cancel")
		}
	})
	select {
	case <-k.Ready():
	case err := <-ended:
		ended <- err
		t.Fatalf("Run ended early: %v", err)
	}
	return k
}

// kernel lists the main table's routes for a destination.
func kernel(t *testing.T, dst string) []Route {
	t.Helper()
	routes, err := readRoutes()
	must(t, err)
	want := netip.MustParsePrefix(dst)
	return slices.DeleteFunc(routes, func(r Route) bool { return r.Dst != want })
}

func setAll(t *testing.T, k *Keeper, routes ...Route) Achieved {
	t.Helper()
	a, err := k.Set(context.Background(), Desired{Routes: routes})
	must(t, err)
	return a
}

func TestKeeperRepairsDeletedRoute(t *testing.T) {
	goIn := enterNetns(t)
	nic := addNIC(t, "lan0", "10.200.0.11/24")
	repairs := make(chan Repair, 10)
	k := startKeeper(t, goIn, KeeperOptions{OnRepair: func(r Repair) { repairs <- r }})
	want := ours(nic, "10.100.0.0/16", "10.200.0.2", "10.200.0.11")
	a := setAll(t, k, want)
	if a.Added != 1 || !slices.Equal(a.Routes, []Route{want}) {
		t.Fatalf("achieved %+v", a)
	}
	must(t, netlink.RouteDel(vishRoute(nic, "10.100.0.0/16", "10.200.0.2", int(OwnProtocol))))
	r := <-repairs
	if r.Route != want || r.Cause != CauseDeleted || r.Port == 0 {
		t.Errorf("repair %+v", r)
	}
	if got := kernel(t, "10.100.0.0/16"); !slices.Equal(got, []Route{want}) {
		t.Errorf("kernel has %v", got)
	}
	if s := k.Status(); s.Repairs != 1 || s.LastRepair == nil || len(s.Missing) != 0 {
		t.Errorf("status %+v", s)
	}
}
