package path

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"hybridagent/netcfg"
)

const (
	// serverTimeout bounds one probe through a VPN server, onLinkTimeout one of the
	// server itself; secondLook is how many targets are asked when the first one did
	// not answer.
	serverTimeout = 1500 * time.Millisecond
	onLinkTimeout = time.Second
	secondLook    = 3
)

// server is what is known of one VPN server.
type server struct {
	netcfg.ServerPath
	report ServerReport
	// last is the target that answered last: it is asked first.
	last string
	busy bool
}

// observation is what one probe of a VPN server found; at is when it was known.
type observation struct {
	ok  bool
	why string
	rtt time.Duration
	at  time.Time
	by  string
}

// adoptServers takes the plan's servers in its order; what is known of one stays
// while it is probed the same way.
func (w *watch) adoptServers(former Plan) {
	kept := w.servers
	if w.plan.NIC != former.NIC || w.plan.Source != former.Source {
		kept = nil
	}
	next := make([]*server, 0, len(w.plan.Servers))
	for _, path := range w.plan.Servers {
		s := &server{report: ServerReport{Server: path.Server}}
		if i := slices.IndexFunc(kept, func(k *server) bool { return k.Server == path.Server }); i >= 0 {
			s = kept[i]
		}
		s.ServerPath = path
		s.busy = s.busy && w.plan.sameWay(former) // else its worker's answer is dropped
		next = append(next, s)
	}
	w.servers = next
}

// serverReports copies them, in the plan's order.
func (w *watch) serverReports() []ServerReport {
	reports := make([]ServerReport, 0, len(w.servers))
	for _, s := range w.servers {
		reports = append(reports, s.report)
	}
	return reports
}

// roundShows says whether the round's own probes go through the server, so that it
// needs none of its own.
func (w *watch) roundShows(s *server) bool {
	return s.Server == w.plan.Active && len(w.behind()) > 0
}

// behind lists the targets in the VPC, those that answered last time first.
func (w *watch) behind() []Result {
	list := w.facts.inside()
	if len(list) == 0 {
		list = evidence{plan: w.plan, results: literals(w.plan)}.inside()
	}
	slices.SortStableFunc(list, func(a, b Result) int { return answered(b) - answered(a) })
	return list
}

func answered(r Result) int {
	if r.OK || r.Refused {
		return 1
	}
	return 0
}

// literals are the targets that need no resolver.
func literals(plan Plan) []Result {
	var list []Result
	for _, endpoint := range append([]string{plan.APIEndpoint}, plan.Targets...) {
		r := Result{Target: endpoint, Method: MethodTCP}
		if _, err := netip.ParseAddr(endpoint); err == nil {
			r.Method = MethodICMP
		}
		if r.addr().IsValid() {
			list = append(list, r)
		}
	}
	return list
}

// checkServers probes each VPN server by its own way, and tells what it finds as
// soon as it finds it.
func (w *watch) checkServers() {
	for _, s := range w.servers {
		if s.busy {
			continue
		}
		s.busy = true
		way, targets := w.plan.way(), w.behind()
		way.Mark = s.Mark
		if i := slices.IndexFunc(targets, func(r Result) bool { return r.Target == s.last }); i > 0 {
			targets[0], targets[i] = targets[i], targets[0]
		}
		w.spawn(func(ctx context.Context) func() {
			o := w.m.prober.checkServer(ctx, way, s.Server, targets, func(at time.Time) {
				w.deliver(ctx, func() { w.m.OnServer(s.Server, false, at) })
			})
			return func() {
				s.busy = false
				w.observe(s, o)
				if s.Server == w.plan.Active && o.ok == w.damper.current.verdict.bad() {
					w.nextRound = time.Now() // the verdict is about to change
				}
			}
		})
	}
}

// checkServer sends one cheap probe through the server; where it fails, which failed
// is told, more at once: one lost packet or one dead target says nothing of the
// server.
func (p Prober) checkServer(ctx context.Context, way Way, addr netip.Addr, targets []Result, failed func(at time.Time)) observation {
	began := time.Now()
	if len(targets) > 0 {
		first := p.probe(ctx, way, targets[0], serverTimeout)
		if o := observed(first); o.ok {
			return o
		}
		if !first.Unavailable {
			failed(time.Now())
		}
		answers := p.probeAll(ctx, way, targets[:min(len(targets), secondLook)])
		for _, r := range answers {
			if o := observed(r); o.ok {
				return o
			}
		}
		if !first.Unavailable || slices.ContainsFunc(answers, func(r Result) bool { return !r.Unavailable }) {
			return observation{why: "nothing in the VPC answers through it: " + naming(answers), at: time.Now()}
		}
	}
	// There is nothing behind it that could be asked: it answers for itself. To the
	// neighbour table it was absent several times.
	if p.present(ctx, Way{NIC: way.NIC, Source: way.Source}, addr, onLinkTimeout) == Absent {
		failed(time.Now())
		return observation{why: "it does not answer", at: time.Now()}
	}
	return observation{ok: true, rtt: time.Since(began), at: time.Now()}
}

func observed(r Result) observation {
	return observation{ok: r.OK || r.Refused, rtt: r.RTT, at: r.At.Add(r.RTT), by: r.Target}
}

// probeAll probes at once.
func (p Prober) probeAll(ctx context.Context, way Way, targets []Result) []Result {
	answers := slices.Clone(targets)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = p.probe(ctx, way, answers[i], serverTimeout) })
	}
	wg.Wait()
	return answers
}

// observeByRound makes the round's results an observation of the only server.
func (w *watch) observeByRound(s *server) {
	inside := w.facts.inside()
	o := observation{why: "nothing in the VPC answers through it: " + naming(failing(inside)), at: time.Now()}
	for _, r := range inside {
		if answer := observed(r); answer.ok && (!o.ok || answer.rtt < o.rtt) {
			o = answer
		}
	}
	w.observe(s, o)
}

// observe keeps an observation and tells of it; where the server turned, the report
// is wanted at once.
func (w *watch) observe(s *server, o observation) {
	turned := s.report.At.IsZero() || s.report.OK != o.ok
	since := s.report.Since
	if turned {
		since = o.at
	}
	s.report = ServerReport{Server: s.Server, OK: o.ok, Error: o.why, RTT: o.rtt, Since: since, At: o.at}
	if o.ok {
		s.report.Error, s.last = "", o.by
	}
	w.m.OnServer(s.Server, o.ok, o.at)
	if turned {
		reports := w.serverReports()
		w.m.publish(w.plan, func(r *Report) { r.Servers = reports })
	}
}
