package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// failing is an FS whose renames or writes fail.
type failing struct {
	OS
	rename, write error
}

func (f failing) Rename(from, to string) error {
	if f.rename != nil {
		return f.rename
	}
	return f.OS.Rename(from, to)
}

func (f failing) CreateTemp(dir, prefix string, mode os.FileMode) (File, error) {
	file, err := f.OS.CreateTemp(dir, prefix, mode)
	return tornFile{file, f.write}, err
}

func (f failing) Open(path string) (File, error) {
	file, err := f.OS.Open(path)
	return tornFile{file, f.write}, err
}

// tornFile writes half of what it is given when it is to fail.
type tornFile struct {
	File
	err error
}

func (f tornFile) Write(data []byte) (int, error) {
	if f.err == nil {
		return f.File.Write(data)
	}
	n, _ := f.File.Write(data[:len(data)/2])
	return n, f.err
}

// TestWriteThatFails leaves the old file and nothing beside it.
func TestWriteThatFails(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	for name, fs := range map[string]failing{"rename": {rename: full}, "write": {write: full}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "state")
		if err := WriteRaw(path, []byte("old"), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := On(fs).WriteRaw(path, []byte("newer"), 0o600); !errors.Is(err, full) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		entries, err := os.ReadDir(dir)
		content, readErr := os.ReadFile(path)
		if err != nil || readErr != nil || len(entries) != 1 || string(content) != "old" {
			t.Errorf("%s: left %v with %q (%v, %v)", name, entries, content, err, readErr)
		}
		if err := On(failing{write: full}).Append(path, []byte("more")); !errors.Is(err, full) {
			t.Errorf("append: %v", err)
		}
		if content, err := os.ReadFile(path); err != nil || string(content) != "old" {
			t.Errorf("a torn append left %q, %v", content, err)
		}
	}
}

// failingSync is an FS on which fsync fails, and truncate as well where it is told.
type failingSync struct {
	OS
	truncate error
	syncs    *int
}

func (f failingSync) Open(path string) (File, error) {
	file, err := f.OS.Open(path)
	return unsyncedFile{file, f}, err
}

type unsyncedFile struct {
	File
	fs failingSync
}

var errIO = errors.New("input/output error")

// Sync fails the first time only.
func (f unsyncedFile) Sync() error {
	*f.fs.syncs++
	if *f.fs.syncs == 1 {
		return errIO
	}
	return f.File.Sync()
}

func (f unsyncedFile) Truncate(size int64) error {
	if f.fs.truncate != nil {
		return f.fs.truncate
	}
	return f.File.Truncate(size)
}

// TestAppendThatIsNotSynced: what was answered with an error is not there
// afterwards, or the error says that it may be.
func TestAppendThatIsNotSynced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	if err := WriteRaw(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	var uncertain *UncertainError
	syncs := 0
	if err := On(failingSync{syncs: &syncs}).Append(path, []byte("abort")); !errors.Is(err, errIO) || errors.As(err, &uncertain) || syncs != 2 {
		t.Errorf("append: %v after %d syncs", err, syncs)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "old" {
		t.Errorf("an append that was answered with an error left %q, %v", content, err)
	}
	syncs = 0
	err := On(failingSync{syncs: &syncs, truncate: errIO}).Append(path, []byte("abort"))
	if !errors.Is(err, errIO) || !errors.As(err, &uncertain) || uncertain.Size != 3 || uncertain.Path != path {
		t.Errorf("append that cannot be taken back: %v", err)
	}
}

// TestModeIsExact whatever the umask.
func TestModeIsExact(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	for _, mode := range []os.FileMode{0o600, 0o666, 0o640} {
		if err := WriteRaw(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("mode %v, %v; want %v", info.Mode(), err, mode)
		}
	}
}

// TestRemoveTemps takes away what a write that was cut short left, and no more.
func TestRemoveTemps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"state", ".hidden", ".state" + tempMark + "123"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := (Disk{}).RemoveTemps(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != ".hidden" || entries[1].Name() != "state" {
		t.Errorf("left %v, %v", entries, err)
	}
}
