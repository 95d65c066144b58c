package powercut_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hybridagent/agent/store"
	"hybridagent/agent/store/powercut"
)

// told lists the distinct contents of one path over all states.
func told(states []powercut.State, path string) string {
	seen := map[string]bool{}
	for _, state := range states {
		content, found := state.Files[path]
		if !found {
			seen["none"] = true
			continue
		}
		seen[fmt.Sprintf("%q", content)] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), " ")
}

func recorder(t *testing.T, dirs ...string) *powercut.Recorder {
	t.Helper()
	r, err := powercut.NewRecorder(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReplace: a file that is replaced is the old one or the new one, whole; once
// the write was answered, the new one.
func TestReplace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	r := recorder(t)
	disk := store.On(r)
	for _, content := range []string{"old", "new!"} {
		if err := disk.WriteRaw(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r.Mark(content)
	}
	states := slices.Collect(r.States())
	if got := told(states, path); got != `"new!" "old" none` {
		t.Errorf("the file is one of %s", got)
	}
	for _, state := range states {
		if len(state.Marks) == 2 && string(state.Files[path]) != "new!" || len(state.Marks) == 1 && state.Files[path] == nil {
			t.Errorf("after %v it holds %q", state.Marks, state.Files[path])
		}
	}
	// Without its fsync the content may be anything, without the directory's the
	// name may be missing.
	syncs := r.Syncs()
	if got := told(slices.Collect(r.Without(syncs[2])), path); !strings.Contains(got, `"\x00\x00\x00\x00"`) || !strings.Contains(got, `"ne"`) {
		t.Errorf("without %+v: %s", syncs[2], got)
	}
	for _, state := range slices.Collect(r.Without(syncs[3])) {
		if len(state.Marks) == 2 && string(state.Files[path]) == "old" {
			return
		}
	}
	t.Errorf("without %+v the name is always there", syncs[3])
}

// TestAppend: what was answered stays, what was not may be torn.
func TestAppend(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	r := recorder(t)
	disk := store.On(r)
	if err := disk.WriteRaw(path, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Mark("a")
	if err := disk.Append(path, []byte("bcde")); err != nil {
		t.Fatal(err)
	}
	r.Mark("b")
	if err := disk.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	r.Mark("c")
	if err := disk.Remove(path); err != nil {
		t.Fatal(err)
	}
	byMarks := map[int][]powercut.State{}
	for state := range r.States() {
		byMarks[len(state.Marks)] = append(byMarks[len(state.Marks)], state)
	}
	for marks, want := range map[int]string{1: `"a" "a\x00\x00\x00\x00" "abc" "abcde"`, 2: `"abc" "abcde"`, 3: `"abc" none`} {
		if got := told(byMarks[marks], path); got != want {
			t.Errorf("after %d marks the file is one of %s, want %s", marks, got, want)
		}
	}
}

// TestManyNames stays within bounds.
func TestManyNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := recorder(t)
	for n := range 20 {
		if _, err := r.CreateTemp(dir, fmt.Sprint(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if states := slices.Collect(r.States()); len(states) < 100 || len(states) > 5000 {
		t.Errorf("%d states", len(states))
	}
}

// TestWhatWasThereBefore is durable.
func TestWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", ".b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := recorder(t, dir)
	if err := store.On(r).Append(filepath.Join(dir, "a"), []byte("bc")); err != nil {
		t.Fatal(err)
	}
	states := slices.Collect(r.States())
	if a, b := told(states, filepath.Join(dir, "a")), told(states, filepath.Join(dir, ".b")); a != `"a" "a\x00\x00" "ab" "abc"` || b != `".b"` {
		t.Errorf("a is one of %s, .b one of %s", a, b)
	}
}
