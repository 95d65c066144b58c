package facts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Snapshot are the files of a host at one moment, by path.
type Snapshot map[string]entry

type entry struct {
	mode    fs.FileMode
	content string // of a file, or what a link names
	written time.Time
}

// Change is what happened to a path, in the table's words, with its content for messages.
type Change struct{ Text, Content string }

// Take notes every path of the host with that root below the given paths; what skip says is left out with all below it.
func Take(root string, below []string, skip func(path string) bool) (Snapshot, error) {
	s := Snapshot{}
	for _, top := range below {
		err := filepath.WalkDir(filepath.Join(root, top), func(full string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			path := strings.TrimPrefix(full, strings.TrimSuffix(root, "/"))
			if skip != nil && skip(path) {
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
			return s.note(path, full, d)
		})
		if err != nil {
			return nil, fmt.Errorf("cannot take a snapshot of %s: %w", top, err)
		}
	}
	return s, nil
}

func (s Snapshot) note(path, full string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	e := entry{mode: info.Mode(), written: info.ModTime()}
	switch {
	case info.Mode().IsRegular():
		raw, err := os.ReadFile(full)
		if err != nil {
			return err
		}
		e.content = string(raw)
	case info.Mode()&fs.ModeSymlink != 0:
		if e.content, err = os.Readlink(full); err != nil {
			return err
		}
	}
	s[path] = e
	return nil
}

// Age gives fresh files an old time, so that one that is written again with the same content a moment later is seen.
func (s Snapshot) Age(root string) error {
	old := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for path, e := range s {
		if !e.mode.IsRegular() || time.Since(e.written) > time.Minute {
			continue
		}
		if err := os.Chtimes(filepath.Join(root, path), old, old); err != nil {
			return err
		}
		e.written = old
		s[path] = e
	}
	return nil
}

// Changes are the differences of the host now to the snapshot. like puts the recorded runs' values in place of this run's.
func (s Snapshot) Changes(now Snapshot, like func(string) string) map[string]Change {
	out := map[string]Change{}
	for path, e := range now {
		old, existed := s[path]
		if c, ok := e.change(path, old, existed, like); ok {
			out[path] = c
		}
	}
	for path := range s {
		if _, there := now[path]; there {
			continue
		}
		parent := filepath.Dir(path)
		_, was := s[parent]
		_, is := now[parent]
		if !was || is {
			out[path] = Change{Text: "removed"} // with everything below it
		}
	}
	return out
}

func (e entry) change(path string, old entry, existed bool, like func(string) string) (Change, bool) {
	mode := fmt.Sprintf("0%03o", e.mode.Perm())
	switch {
	case e.mode.IsDir():
		return Change{Text: "created dir " + mode}, !existed
	case e.mode&fs.ModeSymlink != 0:
		return Change{Text: "created link " + e.content}, !existed
	}
	content := like(e.content)
	named := "artifact"
	if !Artifact(path) {
		named = Hash(content)
	}
	switch {
	case !existed:
		return Change{"created file " + mode + " " + named, content}, true
	case like(old.content) != content:
		return Change{"changed " + mode + " " + named, content}, true
	}
	return Change{"rewritten " + mode, content}, !e.written.Equal(old.written)
}

// DiffFiles names every difference between what happened and what the case wants.
func (t *Table) DiffFiles(c *Case, got map[string]Change) []string {
	want := t.FilesOf(c)
	var diffs []string
	for path, w := range want {
		g, ok := got[path]
		switch {
		case !ok:
			diffs = append(diffs, fmt.Sprintf("%s was not touched, want %s", path, w))
		case g.Text != w && !t.sameWords(path, w, g):
			diffs = append(diffs, fmt.Sprintf("%s: %s, want %s\n got: %q\nwant: %q", path, g.Text, w, g.Content, t.content(w)))
		}
	}
	for path, g := range got {
		if _, ok := want[path]; !ok {
			diffs = append(diffs, fmt.Sprintf("%s: %s, which the real program did not do", path, g.Text))
		}
	}
	slices.Sort(diffs)
	return diffs
}

// content is what the change in the table's words wrote.
func (t *Table) content(change string) string {
	words := strings.Fields(change)
	if len(words) == 0 {
		return ""
	}
	return t.Contents[words[len(words)-1]]
}

// sameWords: the real program writes kubelet's flags in any order.
func (t *Table) sameWords(path, want string, got Change) bool {
	sorted := func(text string) []string {
		words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\n' || r == '"' })
		slices.Sort(words)
		return words
	}
	action := func(text string) string { return text[:strings.LastIndex(text, " ")+1] }
	return path == "/etc/eks/kubelet/environment" && action(want) == action(got.Text) && slices.Equal(sorted(t.content(want)), sorted(got.Content))
}

// DiffLines names the first difference; empty means none.
func DiffLines(what string, got, want []string) string {
	at := func(lines []string, i int) string {
		if i < len(lines) {
			return lines[i]
		}
		return "(none)"
	}
	for i := range max(len(got), len(want)) {
		if g, w := at(got, i), at(want, i); g != w {
			return fmt.Sprintf("%s %d:\n got %s\nwant %s", what, i, g, w)
		}
	}
	return ""
}

// Messages turns a run's stderr, its values already like the recorded ones, into the table's lines.
func Messages(stderr string) ([]string, error) {
	var lines []string
	for text := range strings.Lines(stderr) {
		fields, isJSON := parse(strings.TrimSuffix(text, "\n"))
		if isJSON && fields["msg"] != nil && fields["ts"] == nil {
			return nil, fmt.Errorf("no time stamp in %s", text)
		}
		lines = append(lines, Line(fields))
	}
	return Tidy(lines), nil
}
