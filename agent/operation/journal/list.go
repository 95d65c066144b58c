package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// listed is a journal in the order of the folder.
type listed struct {
	id string
	// journal is nil where it cannot be read, and newer says why.
	journal *Journal
	newer   bool
	place   Sequence
	local   int
	at      time.Time
}

// list reads every journal, the latest last.
func (s *Store) list() ([]listed, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list operations: %w", err)
	}
	var found []listed
	for _, entry := range entries {
		id, ok := strings.CutSuffix(entry.Name(), journalSuffix)
		if !ok {
			continue
		}
		one := listed{id: id}
		j, err := s.Peek(id)
		// One of no use must not hide the others; oldest of all, it is also the
		// first to be pruned.
		one.newer = errors.Is(err, ErrNewer)
		if err == nil {
			first := j.Records()[0]
			one.journal, one.place, one.at = j, j.place(), first.At
			if first.Operation.Local {
				one.local = 1
			}
		}
		found = append(found, one)
	}
	// The plane's order first: this host's clock may have been set back. A local
	// operation has the place of the one before it.
	slices.SortStableFunc(found, func(a, b listed) int {
		return cmp.Or(cmp.Compare(a.place.Epoch, b.place.Epoch), cmp.Compare(a.place.Counter, b.place.Counter),
			cmp.Compare(a.local, b.local), a.at.Compare(b.at))
	})
	return found, nil
}

// IDs returns the operations that have a journal, the latest last.
func (s *Store) IDs() ([]string, error) {
	found, err := s.list()
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(found))
	for _, one := range found {
		ids = append(ids, one.id)
	}
	return ids, nil
}

// AbortOf returns the journal in which the signed abort of this ID is noted;
// fs.ErrNotExist where none has it.
func (s *Store) AbortOf(id string) (*Journal, Record, error) {
	found, err := s.list()
	if err != nil {
		return nil, Record{}, err
	}
	for _, one := range found {
		if one.journal == nil {
			continue
		}
		for _, record := range Orders(one.journal.Records()) {
			if record.Order.Signed() && record.Order.By == id {
				return one.journal, record, nil
			}
		}
	}
	return nil, Record{}, fmt.Errorf("cannot find abort %s in the journals: %w", id, fs.ErrNotExist)
}

// prune removes the oldest ended operations beyond those kept.
func (s *Store) prune() error {
	found, err := s.list()
	if err != nil {
		return err
	}
	for extra := len(found) - kept; extra >= 0 && len(found) > 0; found = found[1:] {
		if !found[0].removable() {
			continue
		}
		for _, suffix := range []string{operationSuffix, journalSuffix} {
			if err := s.disk.Remove(s.path(found[0].id, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot remove the journal of operation %s: %w", found[0].id, err)
			}
		}
		extra--
	}
	return nil
}

// removable: not what a newer version wrote, nor what has not ended.
func (l listed) removable() bool {
	if l.journal == nil {
		return !l.newer
	}
	_, ended := l.journal.Result()
	return ended
}
