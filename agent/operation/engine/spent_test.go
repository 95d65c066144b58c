package engine

import (
	"testing"
	"time"

	"hybridagent/agent/operation/journal"
)

// TestSpent: the deadline counts the time that a host works, not the night that
// it was without power, and not the years by which its clock was set.
func TestSpent(t *testing.T) {
	t.Parallel()
	const limit = 15 * time.Minute
	at := func(kind journal.Kind, minutes float64) journal.Record {
		return journal.Record{Kind: kind, At: time.Unix(0, 0).Add(time.Duration(minutes * float64(time.Minute)))}
	}
	accepted, night := at(journal.Accepted, 0), 10*60.0
	cases := map[string]struct {
		records []journal.Record
		now     float64
		want    float64
	}{
		"just accepted":            {[]journal.Record{accepted}, 0, 0},
		"works":                    {[]journal.Record{accepted, at(journal.Intent, 1), at(journal.Done, 5)}, 6, 6},
		"cut off at once":          {[]journal.Record{accepted, at(journal.Resumed, night)}, night, 1},
		"off for a night":          {[]journal.Record{accepted, at(journal.Intent, 4), at(journal.Resumed, night)}, night + 2, 4 + 1 + 2},
		"restarted within seconds": {[]journal.Record{accepted, at(journal.Intent, 4), at(journal.Resumed, 4.1)}, 5, 5},
		"clock set forward":        {[]journal.Record{accepted, at(journal.Intent, 2), at(journal.Done, 60*24*365)}, 60*24*365 + 1, 2 + 1},
		"clock set back":           {[]journal.Record{accepted, at(journal.Intent, 2), at(journal.Done, -500)}, -499, 2 + 1},
		"1970, then resumed":       {[]journal.Record{accepted, at(journal.Resumed, 60*24*365*50)}, 60*24*365*50 + 3, 1 + 3},
	}
	for name, c := range cases {
		now := time.Unix(0, 0).Add(time.Duration(c.now * float64(time.Minute)))
		got := spent(c.records, now, limit)
		if want := time.Duration(c.want * float64(time.Minute)); got.Round(time.Second) != want {
			t.Errorf("%s: spent %s, want %s", name, got, want)
		}
	}
	crashing := []journal.Record{accepted}
	for i := range 400 {
		crashing = append(crashing, at(journal.Resumed, float64(i)*0.1))
	}
	if got := spent(crashing, crashing[len(crashing)-1].At, limit); got < limit {
		t.Errorf("a host that restarts for 40 minutes has spent only %s", got)
	}
}
