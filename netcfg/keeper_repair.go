package netcfg

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// loss is a wanted route or rule that an event says is gone.
type loss struct {
	item
	cause   string
	port    uint32
	noticed time.Time
	swap    bool // another of ours took its place
}

// lose repairs, now or when the fight about it allows.
func (k *Keeper) lose(l loss) {
	if !k.managing {
		return
	}
	if until, now := k.admit(l.item, l.noticed); !now {
		k.delayed[l.item] = l
		k.due(until)
		return
	}
	k.restore(l)
}

// restore is the hot path: one message, no reading before it. NLM_F_EXCL keeps it
// from touching what somebody else put there meanwhile; a look afterwards confirms.
func (k *Keeper) restore(l loss) {
	if l.rule != (Rule{}) {
		k.restoreRule(l)
		return
	}
	w, ok := k.want[l.route]
	if !ok || k.have.has(w) {
		return
	}
	flags := uint16(flagCreate | flagExcl)
	if l.swap {
		flags = flagReplace
	}
	err := k.req.writeRoute(rtmNewRoute, flags, w)
	switch {
	case err == nil:
		k.swapped(w)
		delete(k.missing, l.route)
		k.repaired(Repair{When: l.noticed, Route: w, Took: time.Since(l.noticed), Cause: l.cause, Port: l.port})
		k.verifyLater(w, l.noticed)
	case errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.ENOENT):
		// Ours after all (a check was faster), or a foreign one: look.
		k.missing[l.route] = err
		k.checkSoon(l.noticed, true, l.cause)
	default:
		k.missing[l.route] = err
		k.wake(wakeGap)
		k.retry(err, l.cause)
	}
}

func (k *Keeper) restoreRule(l loss) {
	if !k.wants(l.item) || k.rules[l.rule] {
		return
	}
	err := k.req.writeRules(rtmNewRule, flagCreate|flagExcl, []Rule{l.rule})[0]
	if k.ruleOutcome(l.rule, err) {
		k.repaired(Repair{When: l.noticed, Rule: l.rule, Took: time.Since(l.noticed), Cause: l.cause, Port: l.port})
		return
	}
	k.checkLater(time.Now().Add(checkGap), true, l.cause)
}

// retry asks for another try where no event will.
func (k *Keeper) retry(err error, cause string) {
	if !waitsForLink(err) {
		k.checkLater(time.Now().Add(retryAfter), false, cause)
	}
}

// admit says whether something lost may be repaired now, else when.
func (k *Keeper) admit(i item, noticed time.Time) (time.Time, bool) {
	d := k.damping[i]
	if !d.lost {
		d = d.lose(noticed)
		k.damping[i] = d
	}
	return d.until, !time.Now().Before(d.until)
}

// admitAll takes out of the changes what a fight delays.
func (k *Keeper) admitAll(c *Changes, cause string, noticed time.Time) {
	late := func(i item, swap bool) bool {
		until, now := k.admit(i, noticed)
		if !now {
			k.delayed[i] = loss{item: i, cause: cause, noticed: noticed, swap: swap}
			k.due(until)
		}
		return !now
	}
	c.Add = slices.DeleteFunc(c.Add, func(r Route) bool { return late(item{route: r.key()}, false) })
	c.Replace = slices.DeleteFunc(c.Replace, func(r Route) bool { return late(item{route: r.key()}, true) })
	c.AddRules = slices.DeleteFunc(c.AddRules, func(r Rule) bool { return late(item{rule: r}, false) })
}

// account counts what a check repaired.
func (k *Keeper) account(c Changes, cause string, noticed time.Time) {
	for _, r := range slices.Concat(c.Add, c.Replace) {
		if k.have.has(r) {
			k.repaired(Repair{When: noticed, Route: r, Took: time.Since(noticed), Cause: cause})
		}
	}
	for _, r := range c.AddRules {
		if k.rules[r] {
			k.repaired(Repair{When: noticed, Rule: r, Took: time.Since(noticed), Cause: cause})
		}
	}
}

// repaired counts a repair and announces it, the more rarely the longer a fight
// goes on.
func (k *Keeper) repaired(r Repair) {
	i := item{rule: r.Rule}
	if r.Rule == (Rule{}) {
		i.route = r.Route.key()
	}
	delete(k.delayed, i)
	k.repairs++
	k.last = &r
	d, say := k.damping[i].restore(time.Now())
	k.damping[i] = d
	if say {
		k.note(func() { k.announce(i, r, d) })
	}
}

// announce names the rival and tells of a repair; it runs without mu.
func (k *Keeper) announce(i item, r Repair, d damper) {
	r.Rival = k.rival(r)
	k.mu.Lock()
	if k.last != nil && k.last.When.Equal(r.When) && k.last.Route == r.Route && k.last.Rule == r.Rule {
		k.last = &r
	}
	if now, ok := k.damping[i]; ok && r.Rival != "" {
		now.rival = r.Rival
		k.damping[i] = now
	}
	k.mu.Unlock()
	what := zap.Stringer("route", r.Route)
	if r.Rule != (Rule{}) {
		what = zap.Stringer("rule", r.Rule)
	}
	fields := []zap.Field{what, zap.String("cause", r.Cause), zap.Duration("took", r.Took), zap.String("removed_by", r.Rival)}
	if d.streak >= dampFree {
		k.log.Warn("restored again and again: find out who removes it", append(fields, zap.Int("times", d.streak))...)
	} else {
		k.log.Info("restored", fields...)
	}
	if k.opt.OnRepair != nil {
		k.opt.OnRepair(r)
	}
}
