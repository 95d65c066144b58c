package timesync

import (
	"context"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func good(offset time.Duration) Server {
	return Server{OK: true, Offset: offset, RTT: 10 * time.Millisecond}
}

func TestAgree(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		servers []Server
		offset  time.Duration
		ok      bool
		false_  []bool
	}{
		"none":            {nil, 0, false, nil},
		"nobody answers":  {[]Server{{Error: "x"}}, 0, false, []bool{false}},
		"one":             {[]Server{good(time.Second)}, time.Second, true, []bool{false}},
		"median of three": {[]Server{good(3 * time.Millisecond), good(time.Millisecond), good(2 * time.Millisecond)}, 2 * time.Millisecond, true, []bool{false, false, false}},
		"one lies":        {[]Server{good(0), good(time.Hour), good(2 * time.Millisecond)}, time.Millisecond, true, []bool{false, true, false}},
		"no majority":     {[]Server{good(0), good(time.Hour)}, 30 * time.Minute, true, []bool{false, false}},
		"dead ones do not vote": {[]Server{good(0), {}, {}, good(2 * time.Millisecond), good(-time.Hour)},
			time.Millisecond, true, []bool{false, false, false, false, true}},
	} {
		offset, ok := Agree(tc.servers)
		if offset != tc.offset || ok != tc.ok {
			t.Errorf("%s: %s, %v; want %s, %v", name, offset, ok, tc.offset, tc.ok)
		}
		for i, s := range tc.servers {
			if s.Falseticker != tc.false_[i] {
				t.Errorf("%s: server %d falseticker %v", name, i, s.Falseticker)
			}
		}
	}
}

// TestAMinorityCannotMoveTheClock: whatever fewer than half of the servers say,
// the result stays among what the others say.
func TestAMinorityCannotMoveTheClock(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		liars := rapid.IntRange(0, 4).Draw(t, "liars")
		var servers []Server
		for range liars + 1 + rapid.IntRange(0, 3).Draw(t, "more") {
			servers = append(servers, good(time.Duration(rapid.Int64Range(-4e6, 4e6).Draw(t, "true offset"))))
		}
		for range liars {
			servers = append(servers, good(time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "false offset"))))
		}
		offset, ok := Agree(servers)
		// Liars within reach of the truth (RTT/2 + margin) pass for true ones.
		if bound := 4*time.Millisecond + 2*(5*time.Millisecond+margin); !ok || offset.Abs() > bound {
			t.Fatalf("offset %s, %v from %+v", offset, ok, servers)
		}
	})
}

func TestPollsAtTheEdges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []time.Duration
		answers := false
		start := time.Now()
		m := NewMonitor(func(_ context.Context, address string) Server {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(start).Round(time.Second))
			return Server{Address: address, OK: answers}
		}, func() {})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		times := func() []time.Duration {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(asked)
		}
		m.Set([]string{"ntp.example"})
		time.Sleep(130 * time.Second)
		// At once, then after 4, 8, 16, 32, 64 s while nobody answers.
		if got, want := times(), []time.Duration{0, 4e9, 12e9, 28e9, 60e9, 124e9}; !slices.Equal(got, want) {
			t.Errorf("asked at %v, want %v", got, want)
		}
		mu.Lock()
		answers = true
		mu.Unlock()
		m.NetworkChanged() // asks at once: nobody had answered
		synctest.Wait()
		if r := m.Report(); !r.Measured {
			t.Errorf("report %+v", r)
		}
		before := len(times())
		m.NetworkChanged() // no need any more
		time.Sleep(64 * time.Second)
		if got := len(times()); got != before+1 {
			t.Errorf("%d measurements in 64 s, want 1", got-before)
		}
		time.Sleep(5 * time.Hour)
		all := times()
		if gap := all[len(all)-1] - all[len(all)-2]; gap != mostPoll {
			t.Errorf("in the end %s apart, want %s", gap, mostPoll)
		}
		m.Set(nil)
		before = len(times())
		time.Sleep(time.Hour)
		if len(times()) != before || m.Report().Measured {
			t.Error("asked, or kept an answer, without servers")
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

// TestAsk speaks NTP with a server that is ahead by an hour.
func TestAsk(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); serveNTP(conn, time.Hour) }()
	s := Ask(t.Context(), conn.LocalAddr().String())
	if !s.OK || (s.Offset-time.Hour).Abs() > time.Second || s.Stratum != 2 {
		t.Errorf("answer %+v", s)
	}
	_ = conn.Close()
	<-done
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s := Ask(ctx, "127.0.0.1:9"); s.OK || s.Error == "" {
		t.Errorf("cancelled: %+v", s)
	}
}

// serveNTP answers as RFC 5905 asks a server to, with a shifted clock.
func serveNTP(conn net.PacketConn, ahead time.Duration) {
	buf := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < 48 {
			continue
		}
		answer := make([]byte, 48)
		answer[0], answer[1], answer[3] = 4<<3|4, 2, 0xec // version 4, mode server, stratum 2
		copy(answer[24:32], buf[40:48])                   // originate = their transmit
		now := time.Now().Add(ahead)
		seconds := uint64(now.Unix() + 2208988800)
		fraction := uint64(now.Nanosecond()) << 32 / 1e9
		for _, at := range []int{16, 32, 40} { // reference, receive, transmit
			binary.BigEndian.PutUint64(answer[at:], seconds<<32|fraction)
		}
		_, _ = conn.WriteTo(answer, from)
	}
}
