package netcfg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// readBackAtOnce is up to how many routes Set reads back before it returns. More
// take longer to read than to write: their reading back follows.
const readBackAtOnce = 256

// Set makes desired what to hold: what is new or changed is written first, then
// what is no longer wanted is deleted. It is idempotent, safe for concurrent use,
// and waits until the Keeper is ready or ctx ends. What was achieved is returned
// with an error too: what could be installed is, and the rest is tried again on
// every change of links, addresses, routes and rules.
func (k *Keeper) Set(ctx context.Context, desired Desired) (Achieved, error) {
	want, err := checkWanted(desired.Routes)
	if err := errors.Join(err, checkRules(desired.Rules)); err != nil {
		return Achieved{}, err
	}
	select {
	case <-k.ready:
	default:
		select {
		case <-k.ready:
		case <-k.done:
			return Achieved{}, errors.New("cannot set routes: the route keeper has stopped")
		case <-ctx.Done():
			return Achieved{}, fmt.Errorf("cannot set routes: the route keeper is not ready: %w", ctx.Err())
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.req == nil {
		return Achieved{}, errors.New("cannot set routes: the route keeper has stopped")
	}
	return k.set(desired, want)
}

// checkWanted refuses what the Keeper could not own or tell apart, and gives the
// routes by key.
func checkWanted(routes []Route) (map[routeKey]Route, error) {
	want := make(map[routeKey]Route, len(routes))
	for _, r := range routes {
		if why := unfit(r); why != "" {
			return nil, fmt.Errorf("cannot set route %s: %s", r, why)
		}
		known := len(want)
		if want[r.key()] = r; len(want) == known {
			return nil, fmt.Errorf("cannot set route %s: wanted twice", r)
		}
	}
	return want, nil
}

// unfit says why the kernel's route would never be the wanted one, or never ours.
func unfit(r Route) string {
	switch {
	case !r.Own():
		return fmt.Sprintf("not protocol %d in the main table or a probe table", OwnProtocol)
	case !r.Dst.IsValid() || !r.Dst.Addr().Is4() || r.Dst != r.Dst.Masked():
		return "destination is no masked IPv4 prefix"
	case r.Multipath || r.LinkIndex <= 0:
		return "it needs exactly one outgoing link"
	case r.Gateway.IsValid() && !r.Gateway.Is4(), r.Source.IsValid() && !r.Source.Is4():
		return "gateway and source must be IPv4"
	case r.TOS != 0:
		return "it must not depend on the type of service"
	case r.OnLink && !r.Gateway.IsValid():
		return "onlink needs a gateway"
	case r.MTU > maxMTU || r.AdvMSS > maxAdvMSS:
		return fmt.Sprintf("its MTU may be %d at most, its advertised MSS %d", maxMTU, maxAdvMSS)
	}
	return ""
}

func (k *Keeper) set(desired Desired, want map[routeKey]Route) (Achieved, error) {
	former := k.want
	grown := k.adopt(desired, want)
	var done Achieved
	var failures []error
	c := k.diff()
	k.leaveToFight(former, &c)
	if !c.Empty() || grown {
		noticed := time.Now()
		done, failures = k.apply(k.req, c)
		k.countLost(former, c.Add, noticed)
		if len(failures) > 0 || k.restless() {
			k.checkLater(time.Now().Add(retryAfter), false, CauseResync)
		}
		if err := k.readBack(); err != nil {
			k.checkLater(time.Now(), true, CauseResync)
			return done, err
		}
	}
	done.Routes, done.Missing, done.Foreign = k.installed(), k.missingList(), k.foreignList()
	done.Unrecorded, done.Rules = k.unrecorded(), k.ruleLists()
	for _, m := range done.Missing {
		failures = append(failures, m.Err)
	}
	for _, m := range done.Rules.Missing {
		failures = append(failures, m.Err)
	}
	return done, errors.Join(failures...)
}

// leaveToFight takes out of the changes what a fight delays: the pipeline asks often,
// and must not go round the damping.
func (k *Keeper) leaveToFight(former map[routeKey]Route, c *Changes) {
	c.Add = slices.DeleteFunc(c.Add, func(r Route) bool {
		_, delayed := k.delayed[item{route: r.key()}]
		return delayed && former[r.key()] == r
	})
	c.AddRules = slices.DeleteFunc(c.AddRules, func(r Rule) bool {
		_, delayed := k.delayed[item{rule: r}]
		return delayed
	})
}

// countLost counts as repairs what was wanted before as it is now, and was lost with
// a link or address: the pipeline is mostly the first to write it again.
func (k *Keeper) countLost(former map[routeKey]Route, added []Route, noticed time.Time) {
	for _, r := range added {
		if former[r.key()] == r && k.have.has(r) {
			k.repaired(Repair{When: noticed, Route: r, Took: time.Since(noticed), Cause: CauseFlushed})
		}
	}
}

// adopt takes over what is wanted, its routes also by key, and says whether the kernel may hold something
// about it that was not looked at yet.
func (m *model) adopt(desired Desired, want map[routeKey]Route) (grown bool) {
	grown = !m.managing
	m.managing = true
	for key := range m.want {
		if _, still := want[key]; !still {
			m.former[key] = true
		}
	}
	for _, id := range desired.Former {
		m.former[id.key()] = true
	}
	old := m.places
	m.wanted = slices.Clone(desired.Routes)
	m.want = want
	m.places = make(map[routeKey]bool, len(m.wanted))
	m.gateways = make(map[netip.Addr]bool)
	for _, r := range m.wanted {
		m.places[r.place()], m.tables[r.Table] = true, true
		if r.Gateway.IsValid() {
			m.gateways[r.Gateway] = true
		}
		grown = grown || !old[r.place()]
	}
	m.wantRules = sortRules(slices.Clone(desired.Rules))
	maps.DeleteFunc(m.foreign, func(r Route, _ bool) bool { return !m.places[r.place()] })
	maps.DeleteFunc(m.missing, func(key routeKey, _ error) bool { _, ok := m.want[key]; return !ok })
	maps.DeleteFunc(m.missingRules, func(r Rule, _ error) bool { return !slices.Contains(m.wantRules, r) })
	maps.DeleteFunc(m.damping, func(i item, _ damper) bool { return !m.wants(i) })
	return grown
}

// readBack is what makes "achieved" a fact, and finds foreign routes.
func (k *Keeper) readBack() error {
	if len(k.want) > readBackAtOnce {
		k.checkLater(time.Now(), true, CauseResync)
		return nil
	}
	if err := k.scan(true); err != nil {
		return err
	}
	if len(k.missing) == 0 && !k.settled() {
		k.checkLater(time.Now(), true, CauseDeleted)
	}
	return nil
}
