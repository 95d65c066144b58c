package path

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	// recheck is the wait before a failure is probed again: one lost packet is no
	// verdict.
	recheck = 2 * time.Second
	// maxAddresses bounds how many addresses of a name are probed.
	maxAddresses = 8
	lookupTime   = 5 * time.Second
)

// Prober sends single probes; the seam for tests.
type Prober struct {
	TCP    func(ctx context.Context, plan Plan, target netip.AddrPort) error
	ICMP   func(ctx context.Context, plan Plan, target netip.Addr) error
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// System returns the prober that uses the kernel and the host's resolver.
func System() Prober {
	return Prober{
		TCP: connectTCP, ICMP: echo,
		Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
		},
	}
}

// Monitor is the task that probes what Set asks for.
type Monitor struct {
	prober   Prober
	onReport func()
	ready    chan struct{}
	wake     chan struct{}

	mu     sync.Mutex
	plan   Plan
	report Report
}

// NewMonitor returns the task; onReport is called after each round and must
// return at once.
func NewMonitor(prober Prober, onReport func()) *Monitor {
	return &Monitor{prober: prober, onReport: onReport, ready: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// String names the task.
func (m *Monitor) String() string { return "path" }

// Ready is closed as soon as the task runs.
func (m *Monitor) Ready() <-chan struct{} { return m.ready }

// Set replaces the plan; another one than before is probed at once. What the former
// plan's probes said is worth nothing then.
func (m *Monitor) Set(plan Plan) {
	m.mu.Lock()
	changed := !plan.Equal(m.plan)
	if !plan.sameWay(m.plan) {
		m.report = Report{}
	}
	m.plan = plan
	m.mu.Unlock()
	if changed {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

// Report returns the latest state.
func (m *Monitor) Report() Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.report
}

// Run probes until ctx ends; then it returns nil.
func (m *Monitor) Run(ctx context.Context) error {
	close(m.ready)
	timer := time.NewTimer(time.Hour)
	timer.Stop() // Set wakes the first round
	defer timer.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
			failures = 0
		case <-timer.C:
		}
		m.mu.Lock()
		plan := m.plan
		m.mu.Unlock()
		if plan.empty() {
			m.publish(plan, nil, Unknown)
			timer.Stop()
			continue
		}
		results := m.round(ctx, plan)
		if ctx.Err() != nil {
			return nil
		}
		verdict := judge(results)
		wait := plan.Interval
		if bad := verdict != Healthy && verdict != Unknown; !bad {
			failures = 0
		} else if failures++; failures == 1 {
			// Held back until it was seen twice, or there was nothing before.
			wait = min(recheck, wait)
			if m.Report().Verdict == Healthy {
				verdict = Healthy
			}
		}
		m.publish(plan, results, verdict)
		timer.Reset(wait)
	}
}

func (m *Monitor) publish(plan Plan, results []Result, verdict Verdict) {
	m.mu.Lock()
	if !plan.sameWay(m.plan) {
		m.mu.Unlock()
		return // of a plan that was replaced meanwhile; the new one's round follows
	}
	since := m.report.Since
	if since.IsZero() || verdict != m.report.Verdict {
		since = time.Now()
	}
	m.report = Report{Plan: plan, Results: results, Verdict: verdict, Since: since}
	m.mu.Unlock()
	m.onReport()
}

// round probes everything at once and waits for all of it.
func (m *Monitor) round(ctx context.Context, plan Plan) []Result {
	results := m.targets(ctx, plan)
	var wg sync.WaitGroup
	for i := range results {
		if results[i].Error != "" {
			continue
		}
		wg.Go(func() { m.probe(ctx, plan, &results[i]) })
	}
	wg.Wait()
	return results
}

// targets lists what to probe; names that do not resolve come as failed results.
func (m *Monitor) targets(ctx context.Context, plan Plan) []Result {
	var results []Result
	if plan.APIEndpoint != "" {
		results = m.resolve(ctx, plan.APIEndpoint, true)
	}
	for _, target := range plan.Targets {
		if addr, err := netip.ParseAddr(target); err == nil {
			results = append(results, Result{Target: addr.String(), Method: MethodICMP, At: time.Now()})
			continue
		}
		results = append(results, m.resolve(ctx, target, false)...)
	}
	return results
}

func (m *Monitor) resolve(ctx context.Context, endpoint string, api bool) []Result {
	now := time.Now()
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return []Result{{Target: endpoint, Method: MethodTCP, API: api, Error: err.Error(), At: now}}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []Result{{Target: endpoint, Method: MethodTCP, API: api, At: now}}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := m.prober.Lookup(ctx, host)
	if err != nil || len(addrs) == 0 {
		failed := Result{Target: endpoint, Method: MethodTCP, API: api, Error: "the name does not resolve", At: now}
		if api {
			failed.Target = "" // the verdict is about the name
			failed.Error = endpoint + ": the name does not resolve"
		}
		return []Result{failed}
	}
	results := make([]Result, 0, len(addrs))
	for _, addr := range addrs[:min(len(addrs), maxAddresses)] {
		results = append(results, Result{Target: net.JoinHostPort(addr.Unmap().String(), port), Method: MethodTCP, API: api, At: now})
	}
	return results
}

func (m *Monitor) probe(ctx context.Context, plan Plan, r *Result) {
	r.At = time.Now()
	var err error
	if r.Method == MethodICMP {
		err = m.prober.ICMP(ctx, plan, netip.MustParseAddr(r.Target))
	} else {
		host, port, _ := net.SplitHostPort(r.Target)
		number, _ := strconv.ParseUint(port, 10, 16)
		err = m.prober.TCP(ctx, plan, netip.AddrPortFrom(netip.MustParseAddr(host), uint16(number)))
	}
	r.RTT = time.Since(r.At)
	r.OK = err == nil
	if err != nil {
		r.RTT, r.Error = 0, err.Error()
		r.Unavailable = errors.Is(err, errNoPing)
	}
}
