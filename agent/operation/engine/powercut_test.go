package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/store"
	"hybridagent/agent/store/powercut"
)

// TestPowerCutAtAnyMoment replays every state that a power cut may leave of the
// journals, at every point of a life: nothing that was promised is lost, and the
// operation under way comes to its end.
func TestPowerCutAtAnyMoment(t *testing.T) {
	t.Parallel()
	l := recordLife(t, true)
	states := 0
	for state := range l.disk.States() {
		states++
		if problem := l.check(state); problem != "" {
			t.Fatalf("power cut after operation %d, %v: %s", state.After, last(state.Marks), problem)
		}
	}
	t.Logf("%d states after %d fsyncs", states, len(l.disk.Syncs()))
	if states < 300 {
		t.Errorf("only %d states were replayed", states)
	}
}

func last(marks []string) string {
	if len(marks) == 0 {
		return "before anything"
	}
	return marks[len(marks)-1]
}

// TestPowerCutWhileItRecovers cuts the power once more while the operation that
// the first cut interrupted is taken up, for a sample of the first cuts: every
// 19th.
func TestPowerCutWhileItRecovers(t *testing.T) {
	t.Parallel()
	l := recordLife(t, true)
	first, states := 0, 0
	for state := range l.disk.States() {
		if first++; first%19 != 0 {
			continue
		}
		again := &life{t: t, dir: filepath.Join(t.TempDir(), "operations")}
		if err := state.Put(l.dir, again.dir); err != nil {
			t.Fatal(err)
		}
		again.disk = recorder(t, again.dir)
		journals, err := journal.OpenOn(again.dir, store.On(again.disk))
		if err != nil {
			t.Fatal(err)
		}
		if problem, e := again.takenUp(journals); problem != "" {
			t.Fatal(problem)
		} else {
			e.Close()
		}
		for second := range again.disk.States() {
			states++
			second.Marks = state.Marks
			if problem := again.check(second); problem != "" {
				t.Fatalf("power cut after operation %d, %s, and again after operation %d of the recovery: %s", state.After, last(state.Marks), second.After, problem)
			}
		}
	}
	t.Logf("%d states", states)
	if states < 100 {
		t.Errorf("only %d states were replayed", states)
	}
}

// TestEveryFsyncIsNeeded leaves out one fsync at a time, of those behind which
// something is promised before another covers for them: each time the replay finds
// something that was promised and is lost. What steps took is no promise.
func TestEveryFsyncIsNeeded(t *testing.T) {
	t.Parallel()
	l := recordLife(t, false)
	tried, durations := 0, false
	for _, sync := range l.disk.Syncs() {
		after := durations
		durations = strings.Contains(sync.Path, ".durations.")
		if !sync.Promised || after || durations || sync.Dir != "" && sync.Dir != l.dir {
			continue
		}
		if tried++; !l.missed(sync) {
			t.Errorf("nobody misses %+v", sync)
		}
	}
	t.Logf("%d of %d fsyncs", tried, len(l.disk.Syncs()))
	if tried < 40 {
		t.Errorf("only %d fsyncs were left out", tried)
	}
}

// missed reports whether some state without this fsync is wrong.
func (l *life) missed(sync powercut.Sync) bool {
	for state := range l.disk.Without(sync) {
		if l.check(state) != "" {
			return true
		}
	}
	return false
}

// check returns what is wrong with a state; empty: nothing.
func (l *life) check(state powercut.State) string {
	dir, err := os.MkdirTemp("", "powercut")
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := state.Put(l.dir, filepath.Join(dir, "operations")); err != nil {
		l.t.Fatal(err)
	}
	journals, err := journal.OpenOn(filepath.Join(dir, "operations"), store.On(powercut.Careless{}))
	if err != nil {
		l.t.Fatal(err)
	}
	damaged := ""
	journals.OnDamage(func(err error) { damaged = err.Error() })
	if problem := l.promises(journals, state.Marks); problem != "" {
		return problem
	}
	if damaged != "" {
		return damaged
	}
	return l.resumes(journals, state.Marks)
}

// promises checks the files alone.
func (l *life) promises(journals *journal.Store, marks []string) string {
	place, err := journals.Sequence()
	if err != nil {
		return err.Error()
	}
	ids, err := journals.IDs()
	if err != nil {
		return err.Error()
	}
	for _, id := range ids {
		j, err := journals.Peek(id)
		if err != nil {
			return err.Error()
		}
		var faults faults
		checkJournal(&faults, j.Records())
		if len(faults) > 0 {
			return faults[0]
		}
		if place.Counter < j.Records()[0].Operation.Counter || (id == ids[len(ids)-1] && place.Running < id) {
			return fmt.Sprintf("operation %s is in the journal, and the sequence is %+v", id, place)
		}
	}
	for _, mark := range marks {
		if problem := kept(journals, place, strings.Fields(mark)); problem != "" {
			return mark + ": " + problem
		}
	}
	return ""
}

// faults collects what checkJournal finds.
type faults []string

func (f *faults) Errorf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// kept checks one promise.
func kept(journals *journal.Store, place journal.Sequence, mark []string) string {
	j, err := journals.Peek(mark[1])
	if err != nil {
		return err.Error()
	}
	has := func(kind journal.Kind, step string, attempt string) bool {
		return slices.ContainsFunc(j.Records(), func(r journal.Record) bool {
			return r.Kind == kind && (step == "" || r.Step == step && fmt.Sprint(r.Attempt) == attempt)
		})
	}
	result, ended := j.Result()
	_, signedErr := journals.Signed(mark[1])
	switch mark[0] {
	case "answered":
		if !ended && signedErr != nil {
			return signedErr.Error()
		}
	case "do":
		if keeps, planned := j.Kept(); !has(journal.Intent, mark[2], mark[3]) || !planned || string(keeps) != "kept "+mark[1] {
			return "it is not journalled"
		}
	case "undo":
		if _, turned := journal.Turn(j.Records()); !turned || !has(journal.Undo, mark[2], mark[3]) {
			return "it is not journalled"
		}
	case "abort":
		if !has(journal.Abort, "", "") {
			return "it is not journalled"
		}
		if by := mark[3]; by != "local" && place.Counter < number(by) {
			return "its sequence is lost"
		}
	case "told":
		if !ended || operation.StateName(stateOf(result)) != mark[2] {
			return "the end is lost"
		}
		if !errors.Is(signedErr, fs.ErrNotExist) {
			return "the signed bytes are still there"
		}
	}
	return ""
}
