package journal_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hybridagent/agent/operation/journal"
	"hybridagent/agent/store"
)

var errIO = errors.New("input/output error")

// sickDisk neither syncs nor truncates the files that it adds to while it is sick.
type sickDisk struct {
	store.OS
	sick atomic.Bool
}

func (d *sickDisk) Open(path string) (store.File, error) {
	file, err := d.OS.Open(path)
	return sickFile{file, d}, err
}

type sickFile struct {
	store.File
	disk *sickDisk
}

func (f sickFile) Sync() error {
	if f.disk.sick.Load() {
		return errIO
	}
	return f.File.Sync()
}

func (f sickFile) Truncate(size int64) error {
	if f.disk.sick.Load() {
		return errIO
	}
	return f.File.Truncate(size)
}

// TestRecordThatWasRefused does not count after a restart: whoever asked for an
// abort was told that it failed.
func TestRecordThatWasRefused(t *testing.T) {
	t.Parallel()
	disk := &sickDisk{}
	journals, err := journal.OpenOn(filepath.Join(t.TempDir(), "operations"), store.On(disk))
	if err != nil {
		t.Fatal(err)
	}
	j, err := journals.Create(id, []byte("signed"), journal.Operation{Kind: 1, SHA256: "s"}, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	disk.sick.Store(true)
	for _, text := range []string{"cannot take back", "look at the disk"} {
		if err := j.Append(journal.Record{Kind: journal.Abort, At: time.Unix(2, 0)}); !errors.Is(err, errIO) || !strings.Contains(err.Error(), text) {
			t.Errorf("an abort on a sick disk: %v", err)
		}
	}
	disk.sick.Store(false)
	add(t, j, journal.Intent, "one", 1)
	back, err := journals.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, turned := journal.Turn(back.Records()); turned || len(back.Records()) != 2 || back.Records()[1].Kind != journal.Intent {
		t.Errorf("records after a restart: %+v", back.Records())
	}
}
