package lab_test

import (
	"net/netip"
	"testing"
	"time"

	"hybridagent/test/lab"
)

// TestWatchPresence looks at a route that is there, one that is not, and one that is somebody else's.
func TestWatchPresence(t *testing.T) {
	site, ctx := newSite(t, lab.Options{Edges: 1})
	host := site.Host(lab.EdgeName(1))
	if err := host.IP(ctx, "route add 10.100.0.0/16 via 10.200.0.2 dev lan0 proto 104"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dst      string
		protocol int
		there    bool
	}{{"10.100.0.0/16", 104, true}, {"10.101.0.0/16", 104, false}, {"10.100.0.0/16", 105, false}} {
		p, err := host.WatchPresence(netip.MustParsePrefix(c.dst), c.protocol, time.Millisecond)()
		if err != nil || p.Samples == 0 {
			t.Fatalf("%s: %v, %v", c.dst, p, err)
		}
		want := lab.Presence{Samples: p.Samples, Gaps: 1, Longest: p.Longest}
		if c.there {
			want = lab.Presence{Samples: p.Samples, Present: p.Samples}
		}
		if p != want {
			t.Errorf("%s, protocol %d: %+v, want %+v", c.dst, c.protocol, p, want)
		}
	}
}

// TestDHCP starts the LAN's DHCP server and names hosts to it; who asks it is a systemd host's test.
func TestDHCP(t *testing.T) {
	site, ctx := newSite(t, lab.Options{})
	dhcp, err := site.StartDHCP(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for n, address := range []netip.Addr{netip.MustParseAddr("10.200.0.77"), netip.MustParseAddr("10.201.0.77"), {}} {
		if err := dhcp.Lease(ctx, lab.LANMAC(1), address); err != nil {
			t.Fatal(err)
		}
		if got := dhcp.Count("read " + site.Folder); got != n+2 { // once at its start
			t.Errorf("the server has read its hosts %d times, want %d", got, n+2)
		}
	}
	if dhcp.Count("bad ") > 0 {
		t.Errorf("the server refuses what it was given: %s", dhcp.Process.Tail(5))
	}
}
