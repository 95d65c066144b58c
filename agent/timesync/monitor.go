package timesync

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/beevik/ntp"
)

// Bounds of the time between measurements.
const (
	leastPoll = 64 * time.Second
	mostPoll  = 1024 * time.Second
	// retryPoll is the first wait after nobody answered; it doubles to leastPoll.
	retryPoll    = 4 * time.Second
	queryTimeout = 5 * time.Second
)

// Report is the state of the clock.
type Report struct {
	// Servers are the answers of the last round, in the order of the assignment.
	Servers []Server
	// Measured says whether a server answered; Offset is then what to add to this
	// host's clock.
	Measured bool
	Offset   time.Duration
	// At is when the round ended; zero before the first.
	At time.Time
}

// Query asks one server; the seam for tests.
type Query func(ctx context.Context, address string) Server

// Monitor is the task that measures.
type Monitor struct {
	query    Query
	onReport func()
	ready    chan struct{}
	wake     chan struct{}

	mu      sync.Mutex
	servers []string
	report  Report
}

// NewMonitor returns the task; onReport is called after each round and must
// return at once.
func NewMonitor(query Query, onReport func()) *Monitor {
	return &Monitor{query: query, onReport: onReport, ready: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// String names the task.
func (m *Monitor) String() string { return "time" }

// Ready is closed as soon as the task runs.
func (m *Monitor) Ready() <-chan struct{} { return m.ready }

// Set replaces the servers; others than before are asked at once.
func (m *Monitor) Set(servers []string) {
	m.mu.Lock()
	changed := !slices.Equal(servers, m.servers)
	if changed {
		m.servers = slices.Clone(servers)
		m.report = Report{}
	}
	m.mu.Unlock()
	if changed {
		m.poke()
	}
}

// NetworkChanged has the servers asked at once if none answered last time.
func (m *Monitor) NetworkChanged() {
	m.mu.Lock()
	due := len(m.servers) > 0 && !m.report.Measured
	m.mu.Unlock()
	if due {
		m.poke()
	}
}

func (m *Monitor) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Report returns the latest state.
func (m *Monitor) Report() Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.report
}

// Run measures until ctx ends; then it returns nil.
func (m *Monitor) Run(ctx context.Context) error {
	close(m.ready)
	timer := time.NewTimer(time.Hour)
	timer.Stop() // Set wakes the first round
	defer timer.Stop()
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
			wait = 0
		case <-timer.C:
		}
		m.mu.Lock()
		servers := m.servers
		m.mu.Unlock()
		if len(servers) == 0 {
			timer.Stop()
			m.publish(servers, Report{})
			continue
		}
		report := m.round(ctx, servers)
		if ctx.Err() != nil {
			return nil
		}
		m.publish(servers, report)
		wait = nextPoll(wait, report.Measured)
		timer.Reset(wait)
	}
}

// nextPoll doubles the wait: from leastPoll to mostPoll while servers answer,
// from retryPoll to leastPoll while none does.
func nextPoll(last time.Duration, measured bool) time.Duration {
	if !measured {
		return min(max(last*2, retryPoll), leastPoll)
	}
	return min(max(last*2, leastPoll), mostPoll)
}

func (m *Monitor) publish(servers []string, report Report) {
	m.mu.Lock()
	if slices.Equal(servers, m.servers) { // else Set came meanwhile
		m.report = report
	}
	m.mu.Unlock()
	m.onReport()
}

func (m *Monitor) round(ctx context.Context, addresses []string) Report {
	servers := make([]Server, len(addresses))
	var wg sync.WaitGroup
	for i, address := range addresses {
		wg.Go(func() { servers[i] = m.query(ctx, address) })
	}
	wg.Wait()
	report := Report{Servers: servers, At: time.Now()}
	report.Offset, report.Measured = Agree(servers)
	return report
}

// Ask is the Query over the network: one NTP exchange (RFC 5905), with the
// answer's own sanity checks.
func Ask(ctx context.Context, address string) Server {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	dial := func(_, remote string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "udp", remote)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}
	s := Server{Address: address}
	response, err := ntp.QueryWithOptions(address, ntp.QueryOptions{Timeout: queryTimeout, Dialer: dial})
	if err == nil {
		err = response.Validate()
	}
	if err != nil {
		s.Error = fmt.Sprintf("no usable answer: %v", err)
		return s
	}
	s.OK, s.Offset, s.RTT, s.Stratum = true, response.ClockOffset, response.RTT, response.Stratum
	s.RootDistance = max(response.RootDistance-response.RTT/2, 0)
	return s
}
