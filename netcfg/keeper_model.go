package netcfg

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"
)

func (m *model) haveList() []Route { return slices.Collect(maps.Keys(m.have)) }

func (m *model) installed() []Route { return sortRoutes(m.haveList()) }

func (m *model) foreignList() []Route { return sortRoutes(slices.Collect(maps.Keys(m.foreign))) }

// missingList is sorted by destination.
func (m *model) missingList() []RouteFailure {
	list := make([]RouteFailure, 0, len(m.missing))
	for key, err := range m.missing {
		if r, ok := m.want[key]; ok {
			list = append(list, RouteFailure{Route: r, Err: m.explain(r, err)})
		}
	}
	slices.SortFunc(list, func(a, b RouteFailure) int { return compareRoutes(a.Route, b.Route) })
	return list
}

// settled says whether every wanted route is there as wanted.
func (m *model) settled() bool {
	for _, r := range m.want {
		if !m.have[r] {
			return false
		}
	}
	return true
}

// explain gives a failure its context and the operator's next step.
func (m *model) explain(r Route, err error) error {
	switch {
	case errors.Is(err, syscall.EEXIST):
		for f := range m.foreign {
			if f.key() == r.key() {
				return fmt.Errorf("cannot install route %s: the foreign route %s holds it: %w; remove that one, or give it a metric", r, f, err)
			}
		}
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("cannot install route %s: %w; run with CAP_NET_ADMIN", r, err)
	case errors.Is(err, syscall.ENETDOWN), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("cannot install route %s: its link is down or gone, or has lost its address: %w; it is installed when that returns", r, err)
	}
	return fmt.Errorf("cannot install route %s: %w", r, err)
}

// scan reads our routes, or all of the main table, into the model.
func (k *Keeper) scan(full bool) error {
	protocol := OwnProtocol
	if full {
		protocol = 0
	}
	routes, err := k.req.dumpRoutes(protocol)
	if err != nil {
		return err
	}
	clear(k.have)
	foreign := make(map[Route]bool)
	for _, r := range routes {
		switch {
		case r.Own():
			k.have[r] = true
		case k.wantDst[r.Dst]:
			foreign[r] = true
		}
	}
	if full && !maps.Equal(foreign, k.foreign) {
		k.foreign = foreign
		k.noteForeign()
	}
	for key := range k.missing {
		if w, ok := k.want[key]; !ok || k.have[w] {
			delete(k.missing, key)
		}
	}
	return nil
}

// apply writes: adds and replaces, then deletes. A route is not deleted while a
// wanted one for the same destination failed.
func (k *Keeper) apply(add, replace, del []Route) Achieved {
	var done Achieved
	failed := make(map[routeKey]bool)
	swap := k.req.write(rtmNewRoute, flagReplace, replace)
	for i, r := range replace {
		if errors.Is(swap[i], syscall.ENOENT) {
			add = append(add, r) // gone meanwhile
			continue
		}
		if k.outcome(r, swap[i]) {
			k.dropKey(r)
			k.have[r] = true
			done.Replaced++
		}
	}
	for i, err := range k.req.write(rtmNewRoute, flagCreate|flagExcl, add) {
		if k.outcome(add[i], err) {
			k.have[add[i]] = true
			done.Added++
		}
	}
	for key := range k.missing {
		failed[routeKey{dst: key.dst}] = true
	}
	del = slices.DeleteFunc(del, func(r Route) bool { return failed[routeKey{dst: r.Dst}] && k.wantDst[r.Dst] })
	for i, err := range k.req.write(rtmDelRoute, 0, del) {
		if err == nil || errors.Is(err, syscall.ESRCH) {
			delete(k.have, del[i])
			done.Deleted++
		}
	}
	return done
}

// outcome keeps the books on one write and says whether it succeeded.
func (k *Keeper) outcome(r Route, err error) bool {
	if err != nil {
		k.missing[r.key()] = err
		return false
	}
	delete(k.missing, r.key())
	return true
}

func (m *model) dropKey(r Route) {
	for h := range m.have {
		if h.key() == r.key() {
			delete(m.have, h)
		}
	}
}

// check compares the model, freshly read, with what is wanted and repairs the
// difference.
func (k *Keeper) check(full bool, cause string, noticed time.Time) {
	k.checkAt, k.checkFull = time.Time{}, false
	k.checked = time.Now()
	if err := k.scan(full); err != nil {
		k.note(func() { k.log.Warn("cannot read routes, trying again", zap.Error(err)) })
		k.checkLater(time.Now().Add(time.Second), full, cause)
		return
	}
	if !k.managing {
		return
	}
	add, replace, del := Diff(slices.Collect(maps.Values(k.want)), k.haveList())
	add = k.admit(add, noticed)
	replace = k.admit(replace, noticed)
	if len(add)+len(replace)+len(del) == 0 {
		return
	}
	k.apply(add, replace, del)
	for _, r := range slices.Concat(add, replace) {
		if k.have[r] {
			k.repaired(Repair{When: noticed, Route: r, Took: time.Since(noticed), Cause: cause})
		}
	}
	k.wake()
}
