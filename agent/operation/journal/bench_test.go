package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hybridagent/agent/operation/journal"
)

// BenchmarkJournalWrite is one record of an operation, and its floor: the same
// bytes written to a file that exists, with the fsync of the file, and with that
// of the directory besides. The first record is three files that are made, so it
// has a floor of its own.
func BenchmarkJournalWrite(b *testing.B) {
	record := journal.Record{Kind: journal.Intent, Step: "nodeadm-upgrade", Attempt: 1, At: time.Unix(1, 0)}
	b.Run("ours", func(b *testing.B) {
		// A new journal every thousand records: no operation has more.
		var j *journal.Journal
		for n := 0; b.Loop(); n++ {
			if n%1000 == 0 {
				b.StopTimer()
				j = benchJournal(b, b.TempDir(), 0)
				b.StartTimer()
			}
			if err := j.Append(record); err != nil {
				b.Fatal(err)
			}
		}
	})
	line := make([]byte, 112)
	for name, dirs := range map[string]bool{"floor": false, "floor-with-dir": true} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := floor(dir, path, line, dirs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// floor is the least that makes bytes at the end of a file durable.
func floor(dir, path string, line []byte, dirs bool) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(line)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil || !dirs {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func benchJournal(b *testing.B, dir string, n int) *journal.Journal {
	b.Helper()
	store, err := journal.Open(filepath.Join(dir, "operations"))
	if err != nil {
		b.Fatal(err)
	}
	j, err := store.Create(fmt.Sprintf("%026d", n), []byte("signed"), journal.Operation{Kind: 1, SHA256: "s"}, time.Unix(1, 0))
	if err != nil {
		b.Fatal(err)
	}
	return j
}
