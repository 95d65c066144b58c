package path

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// probeTimeout bounds one probe of a round, lookupTime one resolution.
	probeTimeout = 3 * time.Second
	lookupTime   = 5 * time.Second
	// maxAddresses bounds how many addresses of a name are probed.
	maxAddresses = 8
)

// round probes everything at once, and where something fails finds out more.
func (p Prober) round(ctx context.Context, plan Plan) evidence {
	before, beforeErr := p.Filtered()
	e := evidence{plan: plan, now: time.Now()}
	var wg sync.WaitGroup
	if plan.Proxy != "" {
		wg.Go(func() { e.proxy = p.reach(ctx, plan.Proxy) })
	}
	e.results, e.name = p.targets(ctx, plan)
	for i := range e.results {
		if e.results[i].Error == "" {
			wg.Go(func() { e.results[i] = p.probe(ctx, plan.way(), e.results[i], probeTimeout) })
		}
	}
	wg.Wait()
	if !e.suspicious() {
		return e
	}
	e.suspects = p.diagnose(ctx, e)
	if after, err := p.Filtered(); err == nil && beforeErr == nil && after > before {
		e.filtered = after - before
		// Without it the verdict names another segment.
		e.strict, _ = p.Strict(plan.NIC, addrsOf(silent(e.asked())))
	}
	return e
}

// suspicious says that the round alone does not tell what is broken.
func (e evidence) suspicious() bool {
	if e.name.failed && !e.name.unknown {
		return true
	}
	inside := e.inside()
	return len(failing(e.api())) > 0 || len(inside) > 0 && len(silent(inside)) == len(inside)
}

// targets lists what to probe, the API endpoint first; names that do not resolve
// come as failed results.
func (p Prober) targets(ctx context.Context, plan Plan) ([]Result, nameFacts) {
	lists := make([][]Result, 1+len(plan.Targets))
	var name nameFacts
	var wg sync.WaitGroup
	if plan.APIEndpoint != "" {
		wg.Go(func() { lists[0], name = p.resolve(ctx, plan.APIEndpoint, true) })
	}
	for i, target := range plan.Targets {
		wg.Go(func() {
			if addr, err := netip.ParseAddr(target); err == nil {
				lists[i+1] = []Result{{Target: addr.String(), Method: MethodICMP, At: time.Now()}}
				return
			}
			lists[i+1], _ = p.resolve(ctx, target, false)
		})
	}
	wg.Wait()
	return slices.Concat(lists...), name
}

// resolve makes a target of each address of host:port.
func (p Prober) resolve(ctx context.Context, endpoint string, api bool) ([]Result, nameFacts) {
	failed := Result{Target: endpoint, Method: MethodTCP, API: api, At: time.Now()}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		failed.Error = err.Error()
		return []Result{failed}, nameFacts{}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		failed.Target = net.JoinHostPort(addr.Unmap().String(), port)
		return []Result{failed}, nameFacts{}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := p.Lookup(ctx, host)
	if err != nil || len(addrs) == 0 {
		failed.Error = "the name does not resolve"
		return []Result{failed}, unresolved(err)
	}
	slices.SortFunc(addrs, netip.Addr.Compare) // servers rotate them
	results := make([]Result, 0, len(addrs))
	for i, addr := range addrs {
		addrs[i] = addr.Unmap()
		if i < maxAddresses {
			results = append(results, Result{Target: net.JoinHostPort(addrs[i].String(), port), Method: MethodTCP, API: api, At: failed.At})
		}
	}
	return results, nameFacts{addrs: addrs}
}

// unresolved tells a name that does not exist from a DNS that does not answer.
func unresolved(err error) nameFacts {
	var dns *net.DNSError
	switch {
	case err == nil:
		return nameFacts{failed: true, unknown: true}
	case errors.As(err, &dns):
		return nameFacts{failed: true, unknown: dns.IsNotFound, server: dns.Server, why: dns.Err}
	}
	return nameFacts{failed: true, why: err.Error()}
}

// probe sends one probe and returns its result.
func (p Prober) probe(ctx context.Context, way Way, r Result, limit time.Duration) Result {
	r.At = time.Now()
	err := within(ctx, limit, func(ctx context.Context) error {
		if r.Method == MethodICMP {
			return p.ICMP(ctx, way, r.addr())
		}
		target, err := netip.ParseAddrPort(r.Target)
		if err != nil {
			return err
		}
		return p.TCP(ctx, way, target)
	})
	if r.Refused = errors.Is(err, unix.ECONNREFUSED); err == nil || r.Refused {
		r.RTT = time.Since(r.At)
	}
	if r.OK = err == nil; r.OK {
		return r
	}
	r.Error = err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		r.Error = fmt.Sprintf("no answer within %s", limit)
	}
	r.Unavailable = errors.Is(err, errNoPing)
	return r
}
