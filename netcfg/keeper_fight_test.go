package netcfg

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// presence watches the kernel from another socket: for what part of the time that
// the deletes took was the route there?
type presence struct {
	events  *eventConn
	there   time.Duration
	gone    time.Duration
	changed time.Time
	is      bool
	deletes int
}

// watch follows the route until it was deleted n times.
func (p *presence) watch(t *testing.T, want Route, n int) float64 {
	t.Helper()
	p.changed, p.is = time.Now(), true
	for p.deletes < n {
		b, err := p.events.next()
		must(t, err)
		now := time.Now()
		must(t, eachMessage(b, func(m message) bool {
			_, _ = parseRoute(m.body, func(r Route) {
				if r == want {
					p.note(m.kind == rtmNewRoute, now)
				}
			})
			return true
		}))
	}
	return float64(p.there) / float64(p.there+p.gone)
}

func (p *presence) note(is bool, now time.Time) {
	if p.is {
		p.there += now.Sub(p.changed)
	} else {
		p.gone += now.Sub(p.changed)
	}
	if p.changed, p.is = now, is; !is {
		p.deletes++
	}
}

// TestKeeperHoldsARouteInAFight: the rival runs its delete in a loop, as `ip route
// del` in a shell's loop does (some 2 ms each). The route is there for most of the
// time, the fight is told of, and few words are made.
func TestKeeperHoldsARouteInAFight(t *testing.T) {
	var said atomic.Int32
	k, _, want := managed(t, KeeperOptions{
		OnRepair: func(Repair) { said.Add(1) },
		Rival:    func(uint32, time.Time) string { return "systemd-networkd.service" },
	})
	rival := dialWriter(t)
	events, err := dialEvents(0, eventBuffer)
	must(t, err)
	defer events.close()
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				_ = rival.writeRoute(rtmDelRoute, 0, want)
			}
		}
	}()
	p := &presence{events: events}
	ratio := p.watch(t, want, 500)
	s := k.Status()
	close(quit)
	<-ended
	if ratio < 0.5 {
		t.Errorf("the route was there for %.0f %% of the time", 100*ratio)
	}
	if len(s.Fights) != 1 || s.Fights[0].Route != want || s.Rival != "systemd-networkd.service" || !slices.Equal(s.Damped, []Route{want}) {
		t.Errorf("status %+v, rival %q", s.Fights, s.Rival)
	}
	if n := said.Load(); n > 30 {
		t.Errorf("%d announcements of %d repairs", n, s.Repairs)
	}
	eventually(t, "the route stays", holds(t, want))
	eventually(t, "the fight is over", func() bool { return len(k.Status().Fights) == 0 })
}

// TestKeeperBacksOffWhereItIsHopeless: a rival that waits for the route to take it
// away at once leaves nothing to hold. Repairs become rare, and when it gives up
// the route is back.
func TestKeeperBacksOffWhereItIsHopeless(t *testing.T) {
	k, _, want := managed(t, KeeperOptions{})
	rival := dialWriter(t)
	k.mu.Lock()
	d := damper{restored: time.Now()}
	for range 30 { // what a hundred microseconds of life each would make
		d = d.lose(d.restored.Add(futile / 2))
		d, _ = d.restore(d.until)
	}
	d.restored = time.Now().Add(time.Second) // however late the event is read, the route lived too short
	k.damping[item{route: want.key()}] = d
	k.mu.Unlock()
	must(t, rival.writeRoute(rtmDelRoute, 0, want))
	eventually(t, "the repair is delayed", func() bool {
		s := k.Status()
		return len(s.Fights) == 1 && !s.Fights[0].Until.IsZero() && len(kernel(t, vpc)) == 0
	})
	// The pipeline asks often for what is wanted already.
	until, before := k.Status().Fights[0].Until, k.Status().Repairs
	_, err := k.Set(t.Context(), Desired{Routes: []Route{want}})
	must(t, err)
	if s := k.Status(); s.Repairs != before && time.Now().Before(until) {
		t.Error("Set goes round the damping")
	}
	eventually(t, "the route is back after the delay", holds(t, want))
}

func TestDamper(t *testing.T) {
	t.Parallel()
	// fight loses each repair after that life, n times, and returns the last delay.
	fight := func(life time.Duration, n int) (d damper, delay time.Duration) {
		now := time.Unix(1e9, 0)
		d, _ = d.lose(now).restore(now)
		for range n {
			now = now.Add(life)
			d = d.lose(now)
			delay = max(d.until.Sub(now), 0)
			now = now.Add(delay)
			d, _ = d.restore(now)
		}
		return d, delay
	}
	for name, c := range map[string]struct {
		life time.Duration
		n    int
		want time.Duration
	}{
		"the first ones are free":   {10 * time.Microsecond, dampFree - 1, 0},
		"then it backs off":         {10 * time.Microsecond, dampFree, dampFirst},
		"and doubles":               {10 * time.Microsecond, dampFree + 3, 8 * dampFirst},
		"up to a cap":               {10 * time.Microsecond, 100, dampMost},
		"a usable route: at once":   {2 * time.Millisecond, 100, 0},
		"at most a quarter of life": {40 * time.Millisecond, 100, 10 * time.Millisecond},
		"and little in any case":    {900 * time.Millisecond, 100, holdMost},
		"what lasts is no fight":    {2 * dampWindow, 100, 0},
	} {
		if d, got := fight(c.life, c.n); got != c.want {
			t.Errorf("%s: delay %v after %d losses, want %v", name, got, d.streak, c.want)
		}
	}
	said, d := 0, damper{}
	for now := time.Unix(1e9, 0); now.Before(time.Unix(1e9+600, 0)); now = now.Add(5 * time.Millisecond) {
		var say bool
		if d, say = d.lose(now).restore(now); say {
			said++
		}
	}
	if said < 15 || said > 40 {
		t.Errorf("%d announcements in ten minutes of fight", said)
	}
}

// TestKeeperNamesTheRival has the test's own process delete: /proc knows it.
func TestKeeperNamesTheRival(t *testing.T) {
	repairs := make(chan Repair, 8)
	k, nic, _ := managed(t, KeeperOptions{OnRepair: func(r Repair) { repairs <- r }})
	must(t, netlink.RouteDel(vishRoute(nic, vpc, server, int(OwnProtocol))))
	r := receive(t, "a repair", repairs)
	if r.Rival == "" || r.Port == 0 {
		t.Errorf("repair %+v", r)
	}
	eventually(t, "the status names it too", func() bool { return k.Status().LastRepair.Rival == r.Rival })
}

func TestRivalInWords(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for pid, text := range map[string][2]string{
		"812":  {"systemd-network\n", "0::/system.slice/systemd-networkd.service\n"},
		"813":  {"ip\n", "12:cpu:/\n1:name=systemd:/user.slice/user-0.slice/session-3.scope\n0::/\n"},
		"814":  {"dhclient\n", "0::/init\n"},
		"2000": {"x\n", "12:cpu:/system.slice/a.service\n"},
	} {
		dir := filepath.Join(root, pid)
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "comm"), []byte(text[0]), 0o644))
		must(t, os.WriteFile(filepath.Join(dir, "cgroup"), []byte(text[1]), 0o644))
	}
	k := NewKeeper(nil, KeeperOptions{Rival: procRival(root)})
	for _, c := range []struct {
		port  uint32
		cause string
		want  string
	}{
		{812, CauseDeleted, "systemd-networkd.service (systemd-network, process 812)"},
		{813, CauseRule, "ip (process 813 in session-3.scope)"},
		{814, CauseReplaced, "dhclient (process 814)"},
		{2000, CauseDeleted, "x (process 2000)"},
		{999, CauseDeleted, "process 999"},
		{4294963196, CauseDeleted, "netlink port 4294963196"},
		{0, CauseDeleted, ""},
		{812, CauseFlushed, ""},
	} {
		if got := k.rival(Repair{Port: c.port, Cause: c.cause}); got != c.want {
			t.Errorf("port %d: %q, want %q", c.port, got, c.want)
		}
	}
}

// TestKeeperNamesWhoHoldsThePlace: a foreign route in our place is named by its
// protocol.
func TestKeeperNamesWhoHoldsThePlace(t *testing.T) {
	k, nic, _ := managed(t, KeeperOptions{})
	must(t, netlink.RouteReplace(vishRoute(nic, vpc, "10.200.0.9", 16)))
	eventually(t, "the conflict is known", func() bool { return len(k.Status().Missing) == 1 })
	m := k.Status().Missing[0]
	if m.Rival != "protocol dhcp" || !strings.Contains(m.Err.Error(), "protocol dhcp") || !isForeignConflict(m.Err) {
		t.Errorf("failure %+v", m)
	}
	if err := m.Err; !strings.Contains(err.Error(), syscall.EEXIST.Error()) {
		t.Errorf("error %v", err)
	}
}
