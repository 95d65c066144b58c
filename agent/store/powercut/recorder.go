package powercut

import (
	"os"
	"path/filepath"
	"sync"

	"hybridagent/agent/store"
)

// kind is what was done.
type kind int

const (
	made kind = iota
	wrote
	cut
	synced
	renamed
	removed
	dirSynced
	marked
)

// event is one operation on the disk, or a mark.
type event struct {
	kind kind
	// file is the file itself, whatever its name is by then.
	file int
	// path is the name made, renamed to or removed, or the directory synced; from
	// is the name before.
	path, from string
	data       []byte
	size       int64
	// text is the mark.
	text string
}

// Recorder is a store.FS that writes to the real disk and remembers what was
// done. It may be used by several goroutines.
type Recorder struct {
	mutex  sync.Mutex
	events []event
	// names are the files by their present names.
	names map[string]int
	files int
	// before are the files that were there before the first operation, contents what
	// they held.
	before   map[string]int
	contents map[int][]byte
}

// NewRecorder returns a recorder to which nothing happened yet. What lies in the
// directories that are given counts as durable, as the directories do.
func NewRecorder(dirs ...string) (*Recorder, error) {
	r := &Recorder{names: map[string]int{}, before: map[string]int{}, contents: map[int][]byte{}}
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			return nil, err
		}
		hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
		if err != nil {
			return nil, err
		}
		for _, path := range append(paths, hidden...) {
			if err := r.add(path); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// add takes over a file that is there.
func (r *Recorder) add(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r.files++
	r.names[path], r.before[path], r.contents[r.files] = r.files, r.files, content
	return nil
}

// Mark notes that something was promised to somebody at this point, such as an
// answer: whatever a power cut leaves later must keep it.
func (r *Recorder) Mark(text string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.events = append(r.events, event{kind: marked, text: text})
}

// note adds what has succeeded.
func (r *Recorder) note(err error, e event) error {
	if err == nil {
		r.events = append(r.events, e)
	}
	return err
}

// CreateTemp is the FS's.
func (r *Recorder) CreateTemp(dir, prefix string, mode os.FileMode) (store.File, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	file, err := store.OS{}.CreateTemp(dir, prefix, mode)
	if err != nil {
		return nil, err
	}
	r.files++
	r.names[file.Name()] = r.files
	return &recorded{File: file, recorder: r, file: r.files}, r.note(nil, event{kind: made, file: r.files, path: file.Name()})
}

// Open is the FS's.
func (r *Recorder) Open(path string) (store.File, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	file, err := store.OS{}.Open(path)
	if err != nil {
		return nil, err
	}
	return &recorded{File: file, recorder: r, file: r.names[path]}, nil
}

// Rename is the FS's.
func (r *Recorder) Rename(from, to string) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	err := r.note(os.Rename(from, to), event{kind: renamed, file: r.names[from], from: from, path: to})
	if err == nil {
		r.names[to] = r.names[from]
		delete(r.names, from)
	}
	return err
}

// Remove is the FS's.
func (r *Recorder) Remove(path string) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	err := r.note(os.Remove(path), event{kind: removed, path: path})
	if err == nil {
		delete(r.names, path)
	}
	return err
}

// SyncDir is the FS's. The real disk is left in peace: no power is cut there.
func (r *Recorder) SyncDir(dir string) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.note(nil, event{kind: dirSynced, path: filepath.Clean(dir)})
}

// recorded is a file whose writing is remembered.
type recorded struct {
	store.File
	recorder *Recorder
	file     int
}

// Write is the File's.
func (f *recorded) Write(data []byte) (int, error) {
	f.recorder.mutex.Lock()
	defer f.recorder.mutex.Unlock()
	n, err := f.File.Write(data)
	return n, f.recorder.note(err, event{kind: wrote, file: f.file, data: append([]byte{}, data[:n]...)})
}

// Truncate is the File's.
func (f *recorded) Truncate(size int64) error {
	f.recorder.mutex.Lock()
	defer f.recorder.mutex.Unlock()
	return f.recorder.note(f.File.Truncate(size), event{kind: cut, file: f.file, size: size})
}

// Sync is the File's.
func (f *recorded) Sync() error {
	f.recorder.mutex.Lock()
	defer f.recorder.mutex.Unlock()
	return f.recorder.note(nil, event{kind: synced, file: f.file})
}

// Careless is the real FS without any fsync: for what comes after a power cut in
// a test, whose own durability is not in question.
type Careless struct{ store.OS }

// CreateTemp is the FS's.
func (c Careless) CreateTemp(dir, prefix string, mode os.FileMode) (store.File, error) {
	file, err := c.OS.CreateTemp(dir, prefix, mode)
	return careless{file}, err
}

// Open is the FS's.
func (c Careless) Open(path string) (store.File, error) {
	file, err := c.OS.Open(path)
	return careless{file}, err
}

// SyncDir does nothing.
func (Careless) SyncDir(string) error { return nil }

type careless struct{ store.File }

// Sync does nothing.
func (careless) Sync() error { return nil }
