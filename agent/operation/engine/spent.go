package engine

import (
	"time"

	"hybridagent/agent/operation/journal"
)

// resumeCost is the most that one interruption takes of an operation's deadline.
// It is not 0, so that a host that restarts again and again comes to an end.
const resumeCost = time.Minute

// resumed notes that a new process takes the operation up.
func (x *execution) resumed() error {
	return x.append(journal.Record{Kind: journal.Resumed})
}

// spent returns how much of its deadline an operation has used, by its journal.
// The deadline bounds the time that a host works on it: a host that was without
// power for a night goes on in the morning. So the gap before a resumption counts
// for resumeCost at most, and a gap that no running process can have left (below
// 0, or over the deadline) is a clock that was set, and counts nothing.
func spent(records []journal.Record, now time.Time, limit time.Duration) time.Duration {
	total := time.Duration(0)
	last := records[0].At
	count := func(at time.Time, most time.Duration) {
		gap := at.Sub(last)
		last = at
		if gap > limit && most == limit {
			return
		}
		total += max(0, min(gap, most))
	}
	for _, record := range records[1:] {
		most := limit
		if record.Kind == journal.Resumed {
			most = resumeCost
		}
		count(record.At, most)
	}
	count(now, limit)
	return total
}
