package netcfg

import (
	"cmp"
	"slices"
	"time"
)

// Damping. Something of ours that does not outlast dampWindow, more than dampFree
// times in a row, is fought about. The route comes first: while a rival leaves it
// alone for long enough to be of use, it is put back almost at once (after at most
// a quarter of that time, and of holdMost), and only words are saved. Where it is
// removed faster than anybody could use it, repairs back off: the delay doubles
// from dampFirst to dampMost, so that the host is without the route for no longer
// than twice as long as the rival persists, and no more than dampMost after it.
const (
	dampWindow = time.Second
	dampFree   = 5
	dampFirst  = time.Millisecond
	dampMost   = 2 * time.Second
	futile     = 250 * time.Microsecond
	holdMost   = 20 * time.Millisecond
	// timerGrain is what timers cannot do better than.
	timerGrain = 2 * time.Millisecond
	// sayAgain is when a lasting fight is told of again at the latest.
	sayAgain = time.Minute
)

// damper is the memory of the repairs of one route or rule.
type damper struct {
	restored time.Time     // the last repair
	said     time.Time     // the last that was announced
	life     time.Duration // how long repairs last, smoothed
	streak   int           // repairs in a row that did not last
	lost     bool          // since then
	until    time.Time     // no repair before
	rival    string
}

// lose counts a loss; until says when to repair it.
func (d damper) lose(when time.Time) damper {
	life := when.Sub(d.restored)
	if d.restored.IsZero() || life > dampWindow {
		return damper{lost: true, said: d.said, restored: d.restored}
	}
	d.lost = true
	d.streak++
	if d.streak == 1 {
		d.life = life
	}
	d.life += (life - d.life) / 4
	d.until = when.Add(d.delay())
	return d
}

func (d damper) delay() time.Duration {
	if d.streak < dampFree {
		return 0
	}
	backOff := min(dampFirst<<min(d.streak-dampFree, 20), dampMost)
	if d.life < futile {
		return backOff
	}
	if short := min(backOff, d.life/4, holdMost); short >= timerGrain {
		return short
	}
	return 0
}

// restore counts a repair and says whether to tell people.
func (d damper) restore(when time.Time) (damper, bool) {
	d.restored, d.lost = when, false
	say := d.streak < dampFree || d.streak&(d.streak-1) == 0 || when.Sub(d.said) >= sayAgain
	if say {
		d.said = when
	}
	return d, say
}

// fighting says whether the fight goes on.
func (d damper) fighting(now time.Time) bool {
	return d.streak >= dampFree && (d.lost || now.Sub(d.restored) <= dampWindow)
}

// fights are those that go on, sorted.
func (m *model) fights(now time.Time) []Fight {
	var list []Fight
	for i, d := range m.damping {
		if !d.fighting(now) || !m.wants(i) {
			continue
		}
		f := Fight{Rule: i.rule, Route: m.want[i.route], Rival: d.rival, Losses: d.streak}
		if now.Before(d.until) {
			f.Until = d.until
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b Fight) int {
		return cmp.Or(compareRoutes(a.Route, b.Route), compareRules(a.Rule, b.Rule))
	})
	return list
}
