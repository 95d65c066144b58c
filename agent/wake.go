package agent

import "time"

// wakeAt wakes the pipeline at a time, or at an earlier one that was asked for; c.mu
// is held. One timer serves all who wait: none of them ticks.
func (c *core) wakeAt(at time.Time) {
	now := time.Now()
	if c.alarmAt.After(now) && !at.Before(c.alarmAt) {
		return
	}
	c.alarmAt = at
	wait := max(at.Sub(now), time.Millisecond)
	if c.alarm == nil {
		c.alarm = time.AfterFunc(wait, c.notify)
		return
	}
	c.alarm.Reset(wait)
}
