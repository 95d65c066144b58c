package powercut

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
)

// maxNames bounds the changes of names of which every subset is replayed.
const maxNames = 6

// State is what a power cut may leave.
type State struct {
	// After is how many operations were done by then.
	After int
	// Marks are those set by then.
	Marks []string
	// Files are the contents by path.
	Files map[string][]byte
}

// Put writes the state's files into a directory, in place of the one recorded.
func (s State) Put(from, to string) error {
	for path, content := range s.Files {
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Sync is one fsync of a recording.
type Sync struct {
	// Index is its place among the operations.
	Index int
	// Dir is the directory, or empty for a file; Path is the file's name then.
	Dir, Path string
	// Until is the place of the next fsync of the same file or directory, or the
	// end: what was lost by leaving this one out is on disk from there on.
	Until int
	// Promised says that there is a mark before that.
	Promised bool
}

// Syncs lists every fsync.
func (r *Recorder) Syncs() []Sync {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var all []Sync
	names := map[int]string{}
	for i, e := range r.events {
		switch e.kind {
		case made, renamed:
			names[e.file] = e.path
		case synced:
			all = append(all, r.sync(i, Sync{Path: names[e.file]}))
		case dirSynced:
			all = append(all, r.sync(i, Sync{Dir: e.path}))
		}
	}
	return all
}

func (r *Recorder) sync(i int, s Sync) Sync {
	s.Index, s.Until = i, r.next(i)
	s.Promised = slices.ContainsFunc(r.events[i:s.Until], func(e event) bool { return e.kind == marked })
	return s
}

// next is the place of the next fsync of the same.
func (r *Recorder) next(i int) int {
	for j := i + 1; j < len(r.events); j++ {
		same := r.events[j].file == r.events[i].file && r.events[j].path == r.events[i].path
		if r.events[j].kind == r.events[i].kind && same {
			return j
		}
	}
	return len(r.events)
}

// States yields every state that a power cut may leave, at every point, each
// once.
func (r *Recorder) States() iter.Seq[State] { return r.states(-1, 0, len(r.events)) }

// Without yields the states of a recording in which this fsync was left out, as
// far as that makes a difference.
func (r *Recorder) Without(lost Sync) iter.Seq[State] {
	return r.states(lost.Index, lost.Index+1, lost.Until)
}

func (r *Recorder) states(lost, from, until int) iter.Seq[State] {
	return func(yield func(State) bool) {
		d := newDisk()
		for path, file := range r.before {
			d.names[path], d.content[file] = file, r.contents[file]
		}
		seen := map[[sha256.Size]byte]bool{}
		for i := 0; i <= len(r.events) && i <= until; i++ {
			if i >= from && !d.each(func(files map[string][]byte) bool {
				state := State{After: i, Marks: slices.Clone(d.marks), Files: files}
				if key := state.key(); !seen[key] {
					seen[key] = true
					return yield(state)
				}
				return true
			}) {
				return
			}
			if i < len(r.events) && i != lost {
				d.apply(r.events[i])
			}
		}
	}
}

// key tells states apart by files and marks; where they are equal, the point does
// not matter.
func (s State) key() [sha256.Size]byte {
	var all bytes.Buffer
	for _, path := range slices.Sorted(mapKeys(s.Files)) {
		fmt.Fprintf(&all, "%q %q\n", path, s.Files[path])
	}
	fmt.Fprintf(&all, "%q", s.Marks)
	return sha256.Sum256(all.Bytes())
}

func mapKeys(m map[string][]byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}
