package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"hybridagent/agent/store"
)

// sequenceFile holds the place of the last accepted operation.
const sequenceFile = "sequence"

// sequenceSchema is the number of that file's format.
const sequenceSchema = 2

// Sequence is the place of the last accepted operation in the plane's order.
type Sequence struct {
	// Epoch and Counter are those of the operation; Epoch is compared first.
	Epoch   uint64 `json:"epoch"`
	Counter uint64 `json:"counter"`
	// ID is the operation's, or the abort's: only it may come again with the same
	// sequence.
	ID string `json:"id"`
	// Running is the operation that was begun last: an abort and an operation of
	// local root leave one of the two as it is.
	Running string `json:"running,omitempty"`
}

// Before reports whether s comes before other.
func (s Sequence) Before(other Sequence) bool {
	if s.Epoch != other.Epoch {
		return s.Epoch < other.Epoch
	}
	return s.Counter < other.Counter
}

// Sequence reads the last accepted sequence; zero where none was accepted. A
// damaged file is set aside and restored from the journals, so that an old
// operation is still refused.
func (s *Store) Sequence() (Sequence, error) {
	s.sequence.Lock()
	defer s.sequence.Unlock()
	path := filepath.Join(s.dir, sequenceFile)
	payload, err := s.disk.ReadOrSetAside(path, sequenceSchema)
	var corrupt *store.CorruptError
	var other *store.SchemaError
	if errors.As(err, &other) && other.Have == 1 {
		return readFirst(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Sequence{}, nil
	case errors.As(err, &corrupt):
		return s.restore(err)
	case err != nil:
		return Sequence{}, fmt.Errorf("cannot tell old operations from new ones: %w", err)
	}
	return decodeSequence(payload)
}

// readFirst reads a sequence of format 1, which knew neither aborts nor
// operations of local root.
func readFirst(path string) (Sequence, error) {
	payload, err := store.Read(path, 1)
	if err != nil {
		return Sequence{}, fmt.Errorf("cannot tell old operations from new ones: %w", err)
	}
	last, err := decodeSequence(payload)
	last.Running = last.ID
	return last, err
}

func decodeSequence(payload []byte) (Sequence, error) {
	var last Sequence
	if err := json.Unmarshal(payload, &last); err != nil {
		return Sequence{}, fmt.Errorf("cannot tell old operations from new ones: %s: %w", sequenceFile, err)
	}
	return last, nil
}

// restore finds the last accepted operation in the journals.
func (s *Store) restore(damage error) (Sequence, error) {
	found, err := s.list()
	if err != nil {
		return Sequence{}, err
	}
	var last Sequence
	for _, one := range found {
		if one.journal == nil {
			continue
		}
		for _, place := range one.journal.places() {
			if last.Before(place) {
				last = place
			}
		}
	}
	if len(found) > 0 {
		last.Running = found[len(found)-1].id
	}
	s.damaged(fmt.Errorf("cannot read the sequence of the last operation: %w; the journals say %d.%d (operation %q)", damage, last.Epoch, last.Counter, last.Running))
	return last, s.SetSequence(last)
}

// SetSequence puts the sequence of an operation on disk, before its journal
// begins.
func (s *Store) SetSequence(last Sequence) error {
	payload, err := json.Marshal(last)
	if err != nil {
		return fmt.Errorf("cannot encode the sequence: %w", err)
	}
	if err := s.disk.Write(filepath.Join(s.dir, sequenceFile), sequenceSchema, payload); err != nil {
		return fmt.Errorf("cannot keep the sequence of operation %s: %w", last.ID, err)
	}
	return nil
}

// RemoveEnded removes signed bytes that no journal needs any more: of
// operations that ended just before a crash; and what writes that were cut short
// left.
func (s *Store) RemoveEnded() error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*"+operationSuffix))
	if err != nil {
		return fmt.Errorf("cannot list operations: %w", err)
	}
	removed := false
	for _, path := range paths {
		base := filepath.Base(path)
		j, err := s.Peek(base[:len(base)-len(operationSuffix)])
		if err == nil {
			if _, ended := j.Result(); !ended {
				continue
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := s.disk.Remove(path); err != nil {
			return fmt.Errorf("cannot remove the bytes of an ended operation: %w", err)
		}
		removed = true
	}
	if err := s.disk.RemoveTemps(s.dir); err != nil {
		return err
	}
	if !removed {
		return nil
	}
	return s.disk.SyncDir(s.dir)
}
