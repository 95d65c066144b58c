package journal_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/agent/operation/journal"
	"hybridagent/agent/store"
)

// old writes a journal as format 1 had it: each word is a record, step and try
// behind colons.
func old(t *testing.T, dir, name, words string, schema int) string {
	t.Helper()
	var text strings.Builder
	for i, word := range strings.Fields(words) {
		part := append(strings.Split(word, ":"), "", "")
		body := fmt.Sprintf(`{"kind":%q,"at":"2026-01-01T00:00:0%dZ","step":%q,"message":"m%d"`, part[0], i, part[1], i)
		if part[2] != "" {
			body += `,"attempt":` + part[2]
		}
		if i == 0 {
			body += fmt.Sprintf(`,"schema":%d,"operation":{"kind":1,"nodeDigest":"d","epoch":1,"counter":7,"sha256":"s"}`, schema)
		}
		body += "}"
		fmt.Fprintf(&text, "%08x %s\n", crc32.ChecksumIEEE([]byte(body)), body)
	}
	path := filepath.Join(dir, name+".journal")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func kinds(j *journal.Journal) string {
	var words []string
	for _, record := range j.Records() {
		words = append(words, string(record.Kind))
	}
	return strings.Join(words, " ")
}

// TestJournalsOfFormat1 are read as they are when their operation has ended, and
// converted when it has not: one that was being taken back goes on being so.
func TestJournalsOfFormat1(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		"accepted intent:a:1 done:a:1 ended":                                       "accepted intent done ended",
		"accepted intent:a:1 done:a:1 intent:b:1":                                  "accepted intent done intent",
		"accepted intent:a:1 failed:a:1 undo:a":                                    "accepted intent failed failing undo",
		"accepted intent:a:1 failed:a:1 undo:a undone:a undo:b resumed":            "accepted intent failed failing undo undone undo resumed",
		"accepted intent:a:1 failed:a:1 undo:a undone:a resumed intent:a:2":        "accepted intent failed undo undone resumed intent",
		"accepted intent:a:1 failed:a:1 undo:a undone:a intent:a:2 done:a:2 ended": "accepted intent failed undo undone intent done ended",
	} {
		dir := t.TempDir()
		journals, err := journal.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		path := old(t, dir, id, words, 1)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if j, err := journals.Peek(id); err != nil || kinds(j) != want {
			t.Errorf("%s: Peek = %v, %v", words, kinds(j), err)
		}
		j, err := journals.Load(id)
		if err != nil || kinds(j) != want {
			t.Fatalf("%s: Load = %v, %v", words, kinds(j), err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, ended := j.Result()
		if ended != (string(before) == string(after)) {
			t.Errorf("%s: ended %v, and the file is\n%s", words, ended, after)
		}
		if ended {
			continue
		}
		if turn, turned := journal.Turn(j.Records()); turned && (turn.Message != "m2" || turn.Step != "a") {
			t.Errorf("%s: the cause is %+v", words, turn)
		}
		if err := j.Append(journal.Record{Kind: journal.Resumed}); err != nil {
			t.Fatal(err)
		}
		if again, err := journals.Load(id); err != nil || kinds(again) != want+" resumed" || again.Records()[0].Schema != journal.Schema {
			t.Errorf("%s: read again = %v, %v", words, kinds(again), err)
		}
	}
}

// TestJournalOfANewerVersion is named and left alone, whatever comes after it.
func TestJournalOfANewerVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	journals, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := old(t, dir, id, "accepted future", journal.Schema+1)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := journals.Load(id); !errors.Is(err, journal.ErrNewer) || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), "install the version that wrote it") {
		t.Errorf("Load = %v", err)
	}
	for n := range 30 {
		next, err := journals.Create(fmt.Sprintf("%026d", n), []byte("x"), journal.Operation{Epoch: 1, Counter: uint64(n)}, time.Unix(int64(n), 0))
		if err != nil {
			t.Fatal(err)
		}
		if err := next.End(journal.Always, journal.Record{Kind: journal.Ended}); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the newer journal is now %q, %v", after, err)
	}
	if ids, err := journals.IDs(); err != nil || len(ids) != 20 {
		t.Errorf("%d journals are kept, %v", len(ids), err)
	}
}

// TestSequenceOfFormat1 says what ran last.
func TestSequenceOfFormat1(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	journals, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	writeState(t, filepath.Join(dir, "sequence"), 1, `{"epoch":2,"counter":3,"id":"`+id+`"}`)
	want := journal.Sequence{Epoch: 2, Counter: 3, ID: id, Running: id}
	if last, err := journals.Sequence(); err != nil || last != want {
		t.Errorf("Sequence = %+v, %v", last, err)
	}
	writeState(t, filepath.Join(dir, "sequence"), 9, `{}`)
	if _, err := journals.Sequence(); err == nil || !strings.Contains(err.Error(), "install the version that wrote it") {
		t.Errorf("a newer sequence: %v", err)
	}
}

// TestPendingIsNeverPruned: only what has ended makes room.
func TestPendingIsNeverPruned(t *testing.T) {
	t.Parallel()
	_, journals, _ := create(t)
	for n := range 30 {
		next, err := journals.Create(fmt.Sprintf("%026d", n), []byte("x"), journal.Operation{Epoch: 1, Counter: uint64(n) + 1}, time.Unix(9, 0))
		if err != nil {
			t.Fatal(err)
		}
		if err := next.End(journal.Always, journal.Record{Kind: journal.Ended}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := journals.Load(id); err != nil {
		t.Errorf("the operation under way is gone: %v", err)
	}
	if _, err := journals.Signed(id); err != nil {
		t.Errorf("its bytes are gone: %v", err)
	}
}

func writeState(t *testing.T, path string, schema int, payload string) {
	t.Helper()
	if err := store.Write(path, schema, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}
