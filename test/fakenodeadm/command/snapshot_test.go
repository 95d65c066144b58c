package command_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hybridagent/test/fakenodeadm/facts"
)

// change is what happened to a file, in the table's words, with its content for messages.
type change struct {
	text, content string
}

type entry struct {
	mode    fs.FileMode
	content string
}

// snapshot notes every path and ages the files, so that a rewrite with the same content is seen.
func (h *host) snapshot() map[string]entry {
	files := map[string]entry{}
	h.walk(func(path, full string, info fs.FileInfo, content string) {
		files[path] = entry{info.Mode(), content}
		if info.Mode().IsRegular() {
			h.must(os.Chtimes(full, longAgo, longAgo))
		}
	})
	return files
}

var longAgo = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

func (h *host) walk(visit func(path, full string, info fs.FileInfo, content string)) {
	h.must(filepath.WalkDir(h.root, func(full string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := strings.TrimPrefix(full, h.root)
		if path == "/lab" {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(full); err != nil {
				return err
			}
		}
		visit(path, full, info, string(content))
		return nil
	}))
}

func (h *host) changes(before map[string]entry) map[string]change {
	out := map[string]change{}
	h.walk(func(path, full string, info fs.FileInfo, content string) {
		old, existed := before[path]
		delete(before, path)
		mode := "0" + strings.TrimPrefix(modeText(info), "0")
		content = h.likeRecorded(content)
		named := "artifact"
		if !facts.Artifact(path) {
			named = facts.Hash(content)
		}
		switch {
		case info.IsDir():
			if !existed {
				out[path] = change{text: "created dir " + mode}
			}
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(full)
			h.must(err)
			if !existed {
				out[path] = change{text: "created link " + target}
			}
		case !existed:
			out[path] = change{"created file " + mode + " " + named, content}
		case h.likeRecorded(old.content) != content:
			out[path] = change{"changed " + mode + " " + named, content}
		case !info.ModTime().Equal(longAgo):
			out[path] = change{"rewritten " + mode, content}
		}
	})
	for path := range before {
		if _, below := before[filepath.Dir(path)]; !below {
			out[path] = change{text: "removed"} // with everything below it
		}
	}
	return out
}

func modeText(info fs.FileInfo) string {
	const digits = "01234567"
	m := info.Mode().Perm()
	return "0" + string([]byte{digits[m>>6&7], digits[m>>3&7], digits[m&7]})
}
