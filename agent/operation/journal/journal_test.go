package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/agent/operation/journal"
)

const id = "aaaaaaaaaaaaaaaaaaaaaaaaaa"

func create(t *testing.T) (dir string, store *journal.Store, j *journal.Journal) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "operations")
	store, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	j, err = store.Create(id, []byte("signed"), journal.Operation{Kind: 1, NodeDigest: "d", SHA256: "s"}, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	return dir, store, j
}

func add(t *testing.T, j *journal.Journal, kind journal.Kind, step string, attempt int) {
	t.Helper()
	if err := j.Append(journal.Record{Kind: kind, Step: step, Attempt: attempt, At: time.Unix(2, 0)}); err != nil {
		t.Fatal(err)
	}
}

func TestRoundTrip(t *testing.T) {
	dir, store, j := create(t)
	add(t, j, journal.Intent, "one", 1)
	add(t, j, journal.Failed, "one", 1)
	add(t, j, journal.Intent, "one", 2)
	add(t, j, journal.Done, "one", 2)
	add(t, j, journal.Intent, "two", 1)
	back, err := store.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	if !back.StepDone("one") || back.StepDone("two") || back.Attempts("one") != 2 || back.Attempts("two") != 1 || len(back.Records()) != 6 {
		t.Errorf("records = %+v", back.Records())
	}
	if signed, err := store.Signed(id); err != nil || string(signed) != "signed" {
		t.Errorf("Signed = %q, %v", signed, err)
	}
	if err := back.End(journal.Always, journal.Record{Kind: journal.Ended, Success: true, At: time.Unix(3, 0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Signed(id); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the signed bytes outlive the end: %v", err)
	}
	if end, ended := back.Result(); !ended || !end.Success {
		t.Errorf("Result = %+v, %v", end, ended)
	}
	for _, name := range []string{id + ".journal"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestTornTail cuts the file at every length: what was whole stays, and the
// journal can be written on.
func TestTornTail(t *testing.T) {
	dir, store, j := create(t)
	add(t, j, journal.Intent, "one", 1)
	add(t, j, journal.Done, "one", 1)
	path := filepath.Join(dir, id+".journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(whole, '\n') + 1
	for cut := first; cut <= len(whole); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		back, err := store.Load(id)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want := bytes.Count(whole[:cut], []byte("\n"))
		if len(back.Records()) != want {
			t.Fatalf("cut at %d: %d records, want %d", cut, len(back.Records()), want)
		}
		add(t, back, journal.Intent, "after", 1)
		again, err := store.Load(id)
		if err != nil || again.Attempts("after") != 1 {
			t.Fatalf("cut at %d: the record after it is lost: %v", cut, err)
		}
	}
}

func TestDamage(t *testing.T) {
	dir, store, j := create(t)
	add(t, j, journal.Intent, "one", 1)
	path := filepath.Join(dir, id+".journal")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[12] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(id); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged first record: %v", err)
	}
	if _, err := store.Load("bbbbbbbbbbbbbbbbbbbbbbbbbb"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
}

func TestSequence(t *testing.T) {
	dir, store, _ := create(t)
	if last, err := store.Sequence(); err != nil || last != (journal.Sequence{}) {
		t.Errorf("no sequence: %+v, %v", last, err)
	}
	want := journal.Sequence{Epoch: 2, Counter: 3, ID: id}
	if err := store.SetSequence(want); err != nil {
		t.Fatal(err)
	}
	if last, err := store.Sequence(); err != nil || last != want {
		t.Errorf("Sequence = %+v, %v", last, err)
	}
	for _, c := range []struct {
		other journal.Sequence
		after bool
	}{{journal.Sequence{Epoch: 2, Counter: 4}, true}, {journal.Sequence{Epoch: 3, Counter: 0}, true}, {journal.Sequence{Epoch: 2, Counter: 3}, false}, {journal.Sequence{Epoch: 1, Counter: 9}, false}} {
		if got := want.Before(c.other); got != c.after {
			t.Errorf("%+v before %+v: %v", want, c.other, got)
		}
	}
	// Accepted later by the plane's order, earlier by a clock that was set back.
	second := journal.Sequence{Epoch: 2, Counter: 4, ID: "bbbbbbbbbbbbbbbbbbbbbbbbbb"}
	if _, err := store.Create(second.ID, nil, journal.Operation{Epoch: 2, Counter: 4}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	restored := second
	restored.Running = second.ID
	var told error
	store.OnDamage(func(err error) { told = err })
	for _, damage := range []string{"", "x", "hybstate"} {
		if err := os.WriteFile(filepath.Join(dir, "sequence"), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if last, err := store.Sequence(); err != nil || last != restored {
			t.Errorf("damaged to %q: %+v, %v", damage, last, err)
		}
		if told == nil || !strings.Contains(told.Error(), "sequence.corrupt-") {
			t.Errorf("damaged to %q: told %v", damage, told)
		}
		told = nil
		if last, err := store.Sequence(); err != nil || last != restored || told != nil {
			t.Errorf("read again: %+v, %v, told %v", last, err, told)
		}
	}
}

func TestOldOperationsAreRemoved(t *testing.T) {
	_, store, j := create(t)
	if err := j.End(journal.Always, journal.Record{Kind: journal.Ended}); err != nil {
		t.Fatal(err)
	}
	for n := range 30 {
		next, err := store.Create(fmt.Sprintf("%026d", n), []byte("x"), journal.Operation{}, time.Unix(int64(n)+10, 0))
		if err != nil {
			t.Fatal(err)
		}
		if err := next.End(journal.Always, journal.Record{Kind: journal.Ended}); err != nil {
			t.Fatal(err)
		}
	}
	ids, err := store.IDs()
	if err != nil || len(ids) != 20 || ids[19] != fmt.Sprintf("%026d", 29) {
		t.Errorf("IDs = %v, %v", ids, err)
	}
}

func TestRemoveEnded(t *testing.T) {
	dir, store, _ := create(t)
	orphan := filepath.Join(dir, "cccccccccccccccccccccccccc.operation")
	if err := os.WriteFile(orphan, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(dir, ".cccccccccccccccccccccccccc.operation.tmp-1")
	if err := os.WriteFile(torn, []byte("secr"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.RemoveEnded(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(torn); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a write that was cut short left stays: %v", err)
	}
	if _, err := os.Stat(orphan); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("signed bytes without a journal stay: %v", err)
	}
	if _, err := store.Signed(id); err != nil {
		t.Errorf("the bytes of an operation under way are gone: %v", err)
	}
}

// FuzzLoad checks that no content of a journal makes it crash or lose the
// records before the damage.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("00000000 {}\n"))
	f.Add([]byte("zz\n\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, tail []byte) {
		dir, store, _ := create(t)
		path := filepath.Join(dir, id+".journal")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(whole, tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := store.Load(id)
		if err != nil || j.Records()[0].Operation.SHA256 != "s" {
			t.Errorf("Load = %v", err)
		}
	})
}
