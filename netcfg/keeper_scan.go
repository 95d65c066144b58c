package netcfg

import (
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Waits for what no event announces.
const (
	// checkGap is the least time between two checks that events ask for. The first
	// event of a storm is checked at once, the rest of it together.
	checkGap = 50 * time.Millisecond
	// retryAfter is when a failed reading or deletion is tried again.
	retryAfter = 2 * time.Second
)

// scan reads our routes into the model; a full one also the foreign routes and the
// rules.
func (k *Keeper) scan(full bool) error {
	have, foreign := newRouteSet(len(k.have.first)), make(map[Route]bool)
	protocol := OwnProtocol
	if full && k.managing { // before the first Set no prefix is wanted
		protocol = 0
	}
	for _, table := range k.scanned(full) {
		var own, others []Route
		err := k.req.dumpRoutes(table, protocol, func() { own, others = own[:0], others[:0] }, func(r Route) {
			switch {
			case r.Own():
				own = append(own, r)
			case k.places[r.place()]:
				others = append(others, r)
			}
		})
		if err != nil {
			return err
		}
		for _, r := range own {
			have.add(r)
		}
		for _, r := range others {
			foreign[r] = true
		}
		k.tables[table] = k.tables[table] || len(own) > 0
	}
	k.have = have
	k.settleMissing()
	if !full {
		return nil
	}
	if !maps.Equal(foreign, k.foreign) {
		k.foreign = foreign
		k.noteForeign()
	}
	return k.scanRules()
}

// scanned are the tables to read: the main one and, short of a full scan, those
// probe tables that may hold something.
func (k *Keeper) scanned(full bool) []int {
	return slices.DeleteFunc(ownTables(), func(t int) bool { return !full && t != TableMain && !k.tables[t] })
}

// settleMissing forgets failures of what is there after all.
func (m *model) settleMissing() {
	for key := range m.missing {
		if w, ok := m.want[key]; !ok || m.have.has(w) {
			delete(m.missing, key)
		}
	}
}

func (k *Keeper) scanRules() error {
	list, err := k.req.dumpRules()
	if err != nil {
		return err
	}
	rules, changed := make(map[Rule]bool), false
	for _, r := range list {
		if r.Own() || r.near() {
			rules[r] = true
			changed = changed || !r.Own() && !k.rules[r]
		}
	}
	k.rules = rules
	for r := range k.missingRules {
		if rules[r] {
			delete(k.missingRules, r)
		}
	}
	if changed {
		k.noteForeign()
	}
	return nil
}

// checkSoon checks now, or with the rest of a storm.
func (k *Keeper) checkSoon(noticed time.Time, full bool, cause string) {
	if next := k.checked.Add(checkGap); noticed.Before(next) {
		k.checkLater(next, full, cause)
		return
	}
	k.check(full, cause, noticed)
}

// checkLater asks for a check at that time, or at an earlier one already set.
func (k *Keeper) checkLater(at time.Time, full bool, cause string) {
	k.checkFull = k.checkFull || full
	if k.checkAt.IsZero() || at.Before(k.checkAt) {
		k.checkAt, k.checkCause = at, cause
		k.poke()
	}
}

// check compares the model, freshly read, with what is wanted and repairs the
// difference.
func (k *Keeper) check(full bool, cause string, noticed time.Time) {
	k.checkAt, k.checkFull = time.Time{}, false
	k.checked = time.Now()
	if err := k.scan(full); err != nil {
		k.note(func() { k.log.Warn("cannot read routes and rules, trying again", zap.Error(err)) })
		k.checkLater(time.Now().Add(retryAfter), full, cause)
		return
	}
	if !k.managing {
		return
	}
	c := k.diff()
	k.admitAll(&c, cause, noticed)
	if c.Empty() {
		return
	}
	twins, missed := len(k.have.more) > 0, len(k.missing)+len(k.missingRules)
	done, failures := k.apply(k.req, c)
	for _, err := range failures {
		k.note(func() { k.log.Warn("cannot clean up, trying again", zap.Error(err)) })
	}
	if len(failures) > 0 || k.restless() {
		k.checkLater(time.Now().Add(retryAfter), false, cause)
	} else if twins {
		k.checkLater(time.Now().Add(checkGap), false, cause)
	}
	k.account(c, cause, noticed)
	if done.Added+done.Replaced+done.Deleted > 0 || len(k.missing)+len(k.missingRules) != missed {
		k.wake(wakeGap)
	}
}

// restless says whether something is missing for a reason that no event will tell
// the end of.
func (m *model) restless() bool {
	for _, err := range m.missing {
		if !waitsForLink(err) && !isForeignConflict(err) {
			return true
		}
	}
	return len(m.missingRules) > 0
}
