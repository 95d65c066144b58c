package netcfg

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// A timeline is steps between bars: "8s a- b+ | 10s a- → b". A step has a time, or
// several ("8s..20s" is every 4 s), then what was observed of which server, then
// with an arrow the server that is active from here on. "use=ba" changes the
// servers. Without an arrow the active one must stay, so that a step with a time
// alone shows what time alone brings about; Next must have announced it.
type timeline struct {
	t       *testing.T
	f       *Failover
	servers []netip.Addr
	active  netip.Addr
	began   time.Time
	next    time.Time // what Next announced; zero: nothing
}

func serverNamed(letter string) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 200, 0, 2 + letter[0] - 'a'})
}

func serversNamed(letters string) []netip.Addr {
	var list []netip.Addr
	for _, l := range letters {
		list = append(list, serverNamed(string(l)))
	}
	return list
}

// runTimeline plays the text with a Failover of its own and returns that.
func runTimeline(t *testing.T, letters, text string) *Failover {
	t.Helper()
	l := &timeline{t: t, f: &Failover{}, servers: serversNamed(letters), began: trialBegan()}
	l.active, _ = l.f.Choose(l.servers, l.began)
	if len(l.servers) > 0 && l.active != l.servers[0] {
		t.Fatalf("begins with %s", l.active)
	}
	for step := range strings.SplitSeq(text, "|") {
		words := strings.Fields(step)
		from, to, span := strings.Cut(words[0], "..")
		at, err := time.ParseDuration(from)
		must(t, err)
		end := at
		if span {
			end, err = time.ParseDuration(to)
			must(t, err)
		}
		for ; at <= end; at += 4 * time.Second {
			l.step(step, at, words[1:], at+4*time.Second > end)
		}
	}
	return l.f
}

func (l *timeline) step(text string, after time.Duration, words []string, last bool) {
	l.t.Helper()
	now, want, alone := l.began.Add(after), l.active, true
	for i, w := range words {
		letters, use := strings.CutPrefix(w, "use=")
		switch {
		case use:
			l.servers, alone = serversNamed(strings.Trim(letters, "-")), false
		case w == "→":
			if want = (netip.Addr{}); words[i+1] != "none" {
				want = serverNamed(words[i+1])
			}
			if !last {
				want = l.active
			}
		case w[len(w)-1] == '+' || w[len(w)-1] == '-':
			l.f.Observe(serverNamed(w), w[len(w)-1] == '+', now)
			alone = false
		}
	}
	got, why := l.f.Choose(l.servers, now)
	if got != want || why == "" {
		l.t.Fatalf("step %q at %s: active %s (%s), want %s", strings.TrimSpace(text), after, got, why, want)
	}
	if alone && got != l.active && (l.next.IsZero() || l.next.After(now)) {
		l.t.Errorf("step %q: Next announced %v", strings.TrimSpace(text), l.next)
	}
	l.active = got
	l.next = time.Time{}
	if at, ok := l.f.Next(now); ok {
		l.next = at
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ servers, text string }{
		"one server, whatever it does":                {"a", "0s a+ | 4s a- | 6s a- | 8s..80s a- | 84s a+"},
		"no server":                                   {"", "0s | 4s use=ab → a | 8s use=- → none"},
		"one lost probe":                              {"ab", "0s a+ b+ | 4s a- | 5s a+ | 8s a+ b+ | 12s a- | 13s a+ | 16s..80s a+ b+"},
		"two in a row":                                {"ab", "0s a+ b+ | 4s a- | 6s a- → b"},
		"dead from the start":                         {"ab", "2s a- b+ | 4s a- → b"},
		"refused at once: a second must pass":         {"ab", "0s a+ b+ | 4s a- b+ | 4001ms a- | 5s → b"},
		"refused, then answered":                      {"ab", "0s a+ b+ | 4s a- b+ | 4001ms a- | 4900ms a+ | 5s | 20s"},
		"never to one that was never seen":            {"ab", "0s a+ | 4s a- | 6s a- | 8s a- | 60s a- | 61s b+ → b"},
		"nor to one whose last probe failed":          {"ab", "0s a+ b+ | 4s a- b- | 6s a- | 6100ms b+ → b"},
		"nor to one that was not asked of late":       {"ab", "0s a+ b+ | 4s..64s a+ | 68s a- | 70s a- | 80s b+ → b"},
		"the next of three":                           {"abc", "0s a+ b+ c+ | 4s a- b- c+ | 6s a- b- → c"},
		"all dead: stay, take the first that answers": {"ab", "0s a+ b+ | 4s a- b- | 6s a- b- | 8s..40s a- b- | 44s b+ → b"},
		"all dead, the active one answers first":      {"ab", "0s a+ b+ | 4s a- b- | 6s a- b- | 8s..40s a- b- | 44s a+ | 44100ms b+ | 48s a+ b+"},
		"back after thirty seconds without a failure": {"ab", "0s a+ b+ | 4s a- | 6s a- → b | 8s a- b+ | 12s..40s a+ b+ | 42s b+ | 60s | 62s a+ → a"},
		"a failure begins the wait anew":              {"ab", "0s a+ b+ | 4s a- | 6s a- → b | 12s..36s a+ b+ | 40s a- b+ | 41s a+ | 44s..68s a+ b+ | 70s a+ | 71s a+ → a"},
		"back at once when the other dies":            {"ab", "0s a+ b+ | 4s a- | 6s a- → b | 8s a- b+ | 12s a+ b- | 14s b- → a"},
		"no return to what stopped being asked":       {"ab", "0s a+ b+ | 4s a- | 6s a- → b | 8s..28s a+ b+ | 32s..88s b+ | 92s a+ b+ | 96s..120s a+ b+ | 122s a+ → a"},
		"one that is preferred, not most":             {"abc", "0s a+ b+ c+ | 4s a- b- | 6s a- b- → c | 8s..32s a- b+ c+ | 38s b+ → b"},
		"a settled one before a flapping one":         {"abc", "0s..40s a+ b+ c+ | 44s a- b- c+ | 46s a- b+ → c"},
		"the active one leaves the list":              {"ab", "0s a+ b+ | 4s use=b → b | 8s use=ab a+ b+ | 28s a+ b+ | 30s a+ → a"},
		"all but a silent one leave":                  {"ab", "0s a+ | 4s use=c → c"},
		"the order changes":                           {"ab", "0s..36s a+ b+ | 38s use=ba → b"},
		"an old answer that comes late":               {"ab", "0s a+ b+ | 4s a- | 6s a- → b | 5s a+ | 8s b- | 10s b-"},
		"two failures far apart":                      {"ab", "0s a+ b+ | 4s a- b+ | 70s a- b+ | 72s a- → b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runTimeline(t, c.servers, c.text)
		})
	}
}

// flap has a die, be left and answer again, until the routes return to it; it says
// how long it had to answer for that.
func flap(t *testing.T, f *Failover, now *time.Time) time.Duration {
	t.Helper()
	a, b := serverNamed("a"), serverNamed("b")
	observe := func(ok bool, after time.Duration) netip.Addr {
		*now = now.Add(after)
		f.Observe(a, ok, *now)
		f.Observe(b, true, *now)
		active, _ := f.Choose([]netip.Addr{a, b}, *now)
		return active
	}
	observe(true, 4*time.Second)
	observe(false, 4*time.Second)
	if got := observe(false, 2*time.Second); got != b {
		t.Fatalf("after two failures %s", got)
	}
	observe(true, 4*time.Second)
	began := *now
	for observe(true, 2*time.Second) != a {
		if now.Sub(began) > time.Hour {
			t.Fatal("never back")
		}
	}
	return now.Sub(began)
}

func TestFailoverHoldsLongerEachTime(t *testing.T) {
	t.Parallel()
	f, now := &Failover{}, trialBegan()
	var got []time.Duration
	for range 8 {
		got = append(got, flap(t, f, &now))
	}
	const s, m = time.Second, time.Minute
	if want := []time.Duration{30 * s, 60 * s, 2 * m, 4 * m, 8 * m, 10 * m, 10 * m, 10 * m}; !slices.Equal(got, want) {
		t.Errorf("returned after %v, want %v", got, want)
	}
	stable := func(length time.Duration) {
		for end := now.Add(length); now.Before(end); {
			now = now.Add(30 * s)
			f.Observe(serverNamed("a"), true, now)
			f.Observe(serverNamed("b"), true, now)
		}
	}
	stable(4 * time.Hour) // takes four strikes off the seven
	if got := flap(t, f, &now); got != 4*m {
		t.Errorf("after four stable hours %v", got)
	}
	if got := flap(t, f, &now); got != 8*m {
		t.Errorf("and when that did not last %v", got)
	}
	stable(12 * time.Hour)
	if got := flap(t, f, &now); got != 30*s {
		t.Errorf("after twelve stable hours %v", got)
	}
}

func TestFailoverSaysWhy(t *testing.T) {
	t.Parallel()
	const death = "0s a+ b+ | 4s a- | 6s a- → b"
	for text, want := range map[string]string{
		"0s a+ b+":                  "it is the first of the VPN servers that can be used",
		death:                       "it answers, and 10.200.0.2 did not answer 2 probes in a row",
		death + " | 8s b- | 10s b-": "no VPN server answers; the first that does is taken",
		death + " | 8s..36s a+ b+ | 38s a+ → a": "it is preferred, and has answered for 30s without a failure",
	} {
		f := runTimeline(t, "ab", text)
		if _, why := f.Choose(serversNamed("ab"), trialBegan().Add(40*time.Second)); why != want {
			t.Errorf("%s: %q, want %q", text, why, want)
		}
	}
}

func TestFailoverResumes(t *testing.T) {
	t.Parallel()
	a, b := serverNamed("a"), serverNamed("b")
	for name, c := range map[string]struct {
		resume, then, want netip.Addr
		why                string
	}{
		"the standby":           {b, netip.Addr{}, b, "the routes led through it before"},
		"nothing is known":      {netip.Addr{}, netip.Addr{}, a, "it is the first of the VPN servers that can be used"},
		"one that is not given": {serverNamed("z"), netip.Addr{}, a, "10.200.0.27 can no longer be used"},
		"only once":             {b, a, b, "the routes led through it before"},
	} {
		f := &Failover{}
		f.Resume(c.resume)
		f.Resume(c.then)
		if got, why := f.Choose([]netip.Addr{a, b}, trialBegan()); got != c.want || why != c.why {
			t.Errorf("%s: %s (%s), want %s (%s)", name, got, why, c.want, c.why)
		}
	}
	f := &Failover{}
	f.Resume(b)
	for at := time.Duration(0); at <= 30*time.Second; at += 2 * time.Second {
		now := trialBegan().Add(at)
		f.Observe(a, true, now)
		f.Resume(b)
		if got, _ := f.Choose([]netip.Addr{a, b}, now); (got == a) != (at == 30*time.Second) {
			t.Errorf("after %s %s", at, got)
		}
	}
}

func TestFailoverForgetsServers(t *testing.T) {
	t.Parallel()
	f := &Failover{}
	for i := range 200 {
		server := netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})
		f.Observe(server, true, trialBegan())
		f.Choose([]netip.Addr{server}, trialBegan())
	}
	if len(f.seen) > 2*MaxVPNServers+1 {
		t.Errorf("%d servers are remembered", len(f.seen))
	}
}
