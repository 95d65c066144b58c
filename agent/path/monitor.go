package path

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Monitor is the task that probes what Set asks for.
type Monitor struct {
	// OnServer is called with each observation of a VPN server, before the report
	// has it: also with a first failure, which the report shows only once it was
	// seen twice. at is when it was known, and never goes back. It must return at
	// once. Set it before Run.
	OnServer func(server netip.Addr, ok bool, at time.Time)

	prober   Prober
	onReport func()
	ready    chan struct{}
	wake     chan struct{}

	mu     sync.Mutex
	plan   Plan
	report Report
}

// NewMonitor returns the task; onReport is called after each round, and when a VPN
// server turns or the path MTU was measured. It must return at once.
func NewMonitor(prober Prober, onReport func()) *Monitor {
	return &Monitor{
		OnServer: func(netip.Addr, bool, time.Time) {},
		prober:   prober, onReport: onReport, ready: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// String names the task.
func (m *Monitor) String() string { return "path" }

// Ready is closed as soon as the task runs.
func (m *Monitor) Ready() <-chan struct{} { return m.ready }

// Set replaces the plan; another one than before is probed at once. What the former
// plan's probes said is worth nothing where the way is another; what is known of VPN
// servers that the plan still has stays.
func (m *Monitor) Set(plan Plan) {
	m.mu.Lock()
	changed := !plan.Equal(m.plan)
	if !plan.sameWay(m.plan) {
		fresh := Report{Servers: slices.Clone(m.report.Servers)}
		if plan.sameTunnel(m.plan) {
			fresh.MTU = m.report.MTU
		}
		m.report = fresh
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
	w := newWatch(ctx, m)
	defer w.end()
	close(m.ready)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
			m.mu.Lock()
			plan := m.plan
			m.mu.Unlock()
			w.adopt(plan)
		case apply := <-w.found:
			apply()
		case <-w.timer.C:
		}
		w.startDue(time.Now())
	}
}

// publish changes the report, unless the plan was replaced by one of another way
// meanwhile: the new one's round follows.
func (m *Monitor) publish(plan Plan, change func(*Report)) {
	m.mu.Lock()
	current := plan.sameWay(m.plan)
	if current {
		change(&m.report)
	}
	m.mu.Unlock()
	if current {
		m.onReport()
	}
}
