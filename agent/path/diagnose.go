package path

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// suspectTimeout bounds one probe of a suspect.
const suspectTimeout = 2 * time.Second

// diagnose asks those who could be at fault: nobody else sends such probes.
func (p Prober) diagnose(ctx context.Context, e evidence) suspects {
	var s suspects
	var wg sync.WaitGroup
	plan := e.plan
	if plan.Gateway.IsValid() {
		// The gateway may be another link's.
		wg.Go(func() { s.gateway = p.present(ctx, Way{}, plan.Gateway, suspectTimeout) })
	}
	if plan.Active.IsValid() {
		wg.Go(func() { s.server = p.present(ctx, plan.way(), plan.Active, suspectTimeout) })
	}
	wg.Go(func() { s.internet = p.internet(ctx, plan) })
	wg.Wait()
	return s
}

// present asks an on-link address by ICMP and, since many drop that, by the
// kernel's neighbour table.
func (p Prober) present(ctx context.Context, way Way, addr netip.Addr, limit time.Duration) Presence {
	err := within(ctx, limit, func(ctx context.Context) error { return p.ICMP(ctx, way, addr) })
	if err == nil {
		return Present
	}
	if ctx.Err() != nil {
		return PresenceUnknown
	}
	return p.Neighbour(ctx, addr)
}

// internet tries every address by whatever way the host has. With a proxy, silence
// proves nothing: a firewall may let out nobody else.
func (p Prober) internet(ctx context.Context, plan Plan) Presence {
	states := make([]Presence, len(plan.Internet))
	var wg sync.WaitGroup
	for i, endpoint := range plan.Internet {
		wg.Go(func() { states[i] = p.reach(ctx, endpoint) })
	}
	wg.Wait()
	all := PresenceUnknown
	for _, state := range states {
		switch {
		case state == Present:
			return Present
		case state == Absent && plan.Proxy == "":
			all = Absent
		}
	}
	return all
}

// reach says whether host:port answers, if only with a refusal.
func (p Prober) reach(ctx context.Context, endpoint string) Presence {
	lookup, cancel := context.WithTimeout(ctx, suspectTimeout)
	defer cancel()
	targets, _ := p.resolve(lookup, endpoint, false)
	state := PresenceUnknown
	for _, target := range targets[:min(len(targets), 2)] {
		if !target.addr().IsValid() {
			continue
		}
		state = Absent
		if r := p.probe(ctx, Way{}, target, suspectTimeout); r.OK || r.Refused {
			return Present
		}
	}
	return state
}

// endpointHost is the host of host:port.
func endpointHost(endpoint string) string {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return endpoint
	}
	return host
}
