package powercut

import (
	"maps"
	"path/filepath"
	"slices"
)

// disk is what is surely on the disk and what may be.
type disk struct {
	// content is what an fsync has secured of each file, pending what came after.
	content map[int][]byte
	pending map[int][]event
	// names is what fsyncs of directories have secured, changes what came after.
	names   map[string]int
	changes []event
	marks   []string
}

func newDisk() *disk {
	return &disk{content: map[int][]byte{}, pending: map[int][]event{}, names: map[string]int{}}
}

// apply does one operation.
func (d *disk) apply(e event) {
	switch e.kind {
	case made, renamed, removed:
		d.changes = append(d.changes, e)
	case wrote, cut:
		d.pending[e.file] = append(d.pending[e.file], e)
	case synced:
		for _, one := range d.pending[e.file] {
			d.content[e.file] = written(d.content[e.file], one)
		}
		delete(d.pending, e.file)
	case dirSynced:
		d.changes = slices.DeleteFunc(d.changes, func(change event) bool {
			if filepath.Dir(change.path) != e.path {
				return false
			}
			rename(d.names, change)
			return true
		})
	case marked:
		d.marks = append(d.marks, e.text)
	}
}

// rename applies a change of names.
func rename(names map[string]int, change event) {
	delete(names, change.from)
	if change.kind == removed {
		delete(names, change.path)
		return
	}
	names[change.path] = change.file
}

// written is a content after one more write.
func written(content []byte, e event) []byte {
	if e.kind == cut {
		return slices.Clone(content[:min(int(e.size), len(content))])
	}
	return append(slices.Clone(content), e.data...)
}

// each calls yield with every combination of names and contents, until it returns
// false.
func (d *disk) each(yield func(map[string][]byte) bool) bool {
	for _, chosen := range choices(len(d.changes)) {
		names := maps.Clone(d.names)
		for i, change := range d.changes {
			if chosen[i] {
				rename(names, change)
			}
		}
		paths := slices.Sorted(maps.Keys(names))
		if !d.fill(names, paths, map[string][]byte{}, yield) {
			return false
		}
	}
	return true
}

// fill gives the remaining paths each of their possible contents.
func (d *disk) fill(names map[string]int, paths []string, files map[string][]byte, yield func(map[string][]byte) bool) bool {
	if len(paths) == 0 {
		return yield(maps.Clone(files))
	}
	for _, content := range d.contents(names[paths[0]]) {
		files[paths[0]] = content
		if !d.fill(names, paths[1:], files, yield) {
			return false
		}
	}
	return true
}

// contents are what a file may hold.
func (d *disk) contents(file int) [][]byte {
	whole := d.content[file]
	all := [][]byte{whole}
	for _, e := range d.pending[file] {
		if e.kind == wrote && len(e.data) > 0 {
			zeros := make([]byte, len(e.data))
			for _, part := range [][]byte{e.data[:len(e.data)/2], zeros} {
				all = append(all, append(slices.Clone(whole), part...))
			}
		}
		whole = written(whole, e)
		all = append(all, whole)
	}
	return append(all, d.holes(file)...)
}

// holes are contents of which one of several writes is lost.
func (d *disk) holes(file int) [][]byte {
	pending := d.pending[file]
	if len(pending) < 2 {
		return nil
	}
	var all [][]byte
	for lost := range pending[:len(pending)-1] {
		content := d.content[file]
		for i, e := range pending {
			if i == lost && e.kind == wrote {
				e.data = make([]byte, len(e.data))
			}
			content = written(content, e)
		}
		all = append(all, content)
	}
	return all
}

// choices are the subsets of n changes that are replayed, as doc.go says.
func choices(n int) [][]bool {
	var all [][]bool
	if n <= maxNames {
		for bits := range 1 << n {
			chosen := make([]bool, n)
			for i := range chosen {
				chosen[i] = bits&(1<<i) != 0
			}
			all = append(all, chosen)
		}
		return all
	}
	for length := range n + 1 {
		prefix := make([]bool, n)
		for i := range length {
			prefix[i] = true
		}
		all = append(all, prefix)
		for missing := range length {
			one := slices.Clone(prefix)
			one[missing] = false
			all = append(all, one)
		}
	}
	return all
}
