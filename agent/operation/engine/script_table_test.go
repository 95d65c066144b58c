package engine

import (
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
)

// scripts are plans and the trails that they must leave.
const scripts = `
# forward
a b c             a b c succeeded
a? b              a! a b succeeded
a= b              b succeeded
a=.  b            b succeeded

# a failure takes back what was begun, the failed step as well, the last first
a b c!            a b c! <c <b <a failed
a b- c!           a b c! <c <a failed
a= b!             b! <b <a failed
a! b              a! <a failed
a b~              a b! b! <b <a failed
a!-               a! failed

# a final step is the point of return
a b. c!           a b c! failed
a b.! c           a b! <b <a failed
a. b. c?          a b c! c succeeded

# aborts
a^ b              a! <a aborted
a b^ c            a b! <b <a aborted
a b c$            a b c <c <b <a aborted
a$ b              a <a aborted
a b.^ c           a b! <b <a aborted
a b.$ c           a b c succeeded
a b.$ c!          a b c! failed

# undos that fail do not keep the others from being taken back
a b<? c!          a b c! <c <b! <b <a failed
a b<! c!          a b c! <c <b! <a failed
a b<! c^          a b c! <c <b! <a failed
a<? b^            a b! <b <a! <a aborted

# crashes: the step is done again, those before it are not
a b% c            a b% b c succeeded
a b%! c           a b! <b <a failed
a* b% c           a b% a b c succeeded
a% b% c%          a% a b% b c% c succeeded
a b%^ c           a b% b! <b <a aborted

# crashes in an undo: it is done again, those done are not, and nothing goes forward
a b<% c!          a b c! <c <b% <b <a failed
a<% b<% c^        a b c! <c <b% <b <a% <a aborted
a* b<% c!         a b c! <c <b% <b <a failed
a b.% c!          a b% b c! failed
`

// TestScripts runs every line of the table.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, line := range strings.Split(scripts, "\n") {
		plan, want := splitLine(line)
		if plan == "" {
			continue
		}
		t.Run(plan, func(t *testing.T) {
			t.Parallel()
			th := newTheater(t, plan)
			end := th.play()
			if got := th.text(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if end.GetEndedAt() == nil || end.GetAbortable() || end.GetMessage() == "" {
				t.Errorf("end = %v", end)
			}
			th.past(end)
		})
	}
}

// splitLine parts a line at its widest gap.
func splitLine(line string) (plan, trail string) {
	if strings.HasPrefix(line, "#") {
		return "", ""
	}
	at := strings.LastIndex(line, "    ")
	if at < 0 {
		at = strings.LastIndex(line, "   ")
	}
	if at < 0 {
		return "", ""
	}
	return strings.TrimSpace(line[:at]), strings.TrimSpace(line[at:])
}

// TestScriptsCutAtEveryRecord lets the process die before and after every record
// of every line: the operation ends as it would have, and what was undone stays so.
func TestScriptsCutAtEveryRecord(t *testing.T) {
	t.Parallel()
	for _, line := range strings.Split(scripts, "\n") {
		plan, want := splitLine(line)
		if plan == "" || strings.ContainsAny(plan, "%$^") {
			continue
		}
		t.Run(plan, func(t *testing.T) {
			t.Parallel()
			th := newTheater(t, plan)
			th.play()
			points := 2 * th.records.Load()
			for point := range points {
				again := newTheater(t, plan)
				again.point.Store(point)
				again.play()
				words, trail := strings.Fields(want), strings.Fields(again.text())
				if trail[len(trail)-1] != words[len(words)-1] {
					t.Errorf("point %d: %s", point, again.text())
				}
				checkOrder(t, again.script, trail)
			}
		})
	}
}

// checkOrder: nothing goes forward once something was taken back, and what is
// taken back was begun and comes in reverse order.
func checkOrder(t interface{ Errorf(string, ...any) }, steps []script, trail []string) {
	place, final := map[string]int{}, map[string]bool{}
	for i, s := range steps {
		place[s.name], final[s.name] = i, s.has(".")
	}
	begun := map[string]bool{}
	last, back, past := len(steps), false, false
	for _, word := range trail[:len(trail)-1] {
		name := strings.Trim(word, "<!%")
		if !strings.HasPrefix(word, "<") {
			begun[name] = true
			past = past || (final[name] && word == name)
			if back {
				t.Errorf("%s was done after something was taken back: %s", name, strings.Join(trail, " "))
			}
			continue
		}
		back = true
		if place[name] > last {
			t.Errorf("%s was taken back after an earlier step: %s", name, strings.Join(trail, " "))
		}
		last = place[name]
		if past {
			t.Errorf("%s was taken back past the point of return: %s", name, strings.Join(trail, " "))
		}
	}
}

// past: the journal tells the same end.
func (th *theater) past(end interface {
	GetMessage() string
	GetStep() string
}) {
	th.t.Helper()
	store, err := journal.Open(filepath.Join(th.dir, "operations"))
	if err != nil {
		th.t.Fatal(err)
	}
	j, err := store.Peek(optest.Operation(1).GetId())
	if err != nil {
		th.t.Fatal(err)
	}
	past := Past(j)
	if past.GetMessage() != end.GetMessage() || past.GetStep() != end.GetStep() || past.GetAbortable() {
		th.t.Errorf("the journal tells %v, not %v", past, end)
	}
}
