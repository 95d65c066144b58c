package engine

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hybridagent/agent/operation/journal"
)

// randomScript draws up to five steps with what may happen to them.
func randomScript(t *rapid.T) string {
	forward := []string{"", "", "", "!", "?", "~", "^", "$", "%", "*", ".", "=", "-", ".%", ".$", "%!", "*%", "-?", ".^"}
	back := []string{"", "", "", "<!", "<?", "<%"}
	var words []string
	for _, name := range []string{"a", "b", "c", "d", "e"}[:rapid.IntRange(1, 5).Draw(t, "steps")] {
		words = append(words, name+rapid.SampledFrom(forward).Draw(t, name)+rapid.SampledFrom(back).Draw(t, "undo of "+name))
	}
	return strings.Join(words, " ")
}

// TestAnyScriptEndsOnce: whatever fails, is aborted or crashes, an operation ends
// as succeeded, failed or aborted, and has taken back what was begun, in reverse
// order, unless it was past its point of return.
func TestAnyScriptEndsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		text := randomScript(r)
		th := newTheater(t, text)
		th.dir = t.TempDir()
		th.lenient = true
		th.local = rapid.Bool().Draw(r, "local")
		th.point.Store(int64(rapid.IntRange(-1, 40).Draw(r, "crash")))
		th.play()
		trail := strings.Fields(th.text())
		checkOrder(r, th.script, trail)
		checkEnd(r, th, trail)
	})
}

// checkEnd compares the end with what was begun and taken back.
func checkEnd(t *rapid.T, th *theater, trail []string) {
	end := trail[len(trail)-1]
	store, err := journal.Open(th.dir + "/operations")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := store.IDs()
	if err != nil || len(ids) != 1 {
		t.Fatalf("journals %v, %v", ids, err)
	}
	j, err := store.Peek(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	records := j.Records()
	ends := 0
	for _, record := range records {
		if record.Kind == journal.Ended {
			ends++
		}
	}
	if ends != 1 || !slices.Contains([]string{"succeeded", "failed", "aborted"}, end) {
		t.Errorf("%d ends, as %s", ends, end)
	}
	_, turned := journal.Turn(records)
	if turned == (end == "succeeded") {
		t.Errorf("turned %v, ended as %s: %s", turned, end, strings.Join(trail, " "))
	}
	for _, s := range th.script {
		due := j.Undoing(s.name).Due && !s.has("-")
		stays := due && j.Undoing(s.name).GivenUp
		switch {
		case end == "aborted" && due:
			t.Errorf("aborted, and %s is left: %s", s.name, strings.Join(trail, " "))
		case end == "failed" && due && !stays && !journal.PastReturn(records):
			t.Errorf("failed, and %s was not taken back: %s", s.name, strings.Join(trail, " "))
		case end == "succeeded" && !j.StepDone(s.name):
			t.Errorf("succeeded without %s: %s", s.name, strings.Join(trail, " "))
		}
	}
	checkJournal(t, records)
}

// checkJournal: no outcome without its intent.
func checkJournal(t interface{ Errorf(string, ...any) }, records []journal.Record) {
	type try struct {
		kind    journal.Kind
		step    string
		attempt int
	}
	begun := map[try]bool{}
	intents := map[journal.Kind]journal.Kind{
		journal.Done: journal.Intent, journal.Failed: journal.Intent,
		journal.Undone: journal.Undo, journal.UndoFailed: journal.Undo,
	}
	for i, record := range records {
		begun[try{record.Kind, record.Step, record.Attempt}] = true
		if intent, outcome := intents[record.Kind]; outcome && !begun[try{intent, record.Step, record.Attempt}] {
			t.Errorf("%s of %s, try %d, has no %s", record.Kind, record.Step, record.Attempt, intent)
		}
		if (record.Kind == journal.Accepted) != (i == 0) {
			t.Errorf("record %d is %s", i, record.Kind)
		}
		if record.Kind == journal.Ended && i != len(records)-1 {
			t.Errorf("%d records after the end", len(records)-1-i)
		}
	}
}
