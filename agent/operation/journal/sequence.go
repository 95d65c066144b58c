package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hybridagent/agent/store"
)

// sequenceFile holds the place of the last accepted operation.
const sequenceFile = "sequence"

// sequenceSchema is the number of that file's format.
const sequenceSchema = 1

// Sequence is the place of the last accepted operation in the plane's order.
type Sequence struct {
	// Epoch and Counter are those of the operation; Epoch is compared first.
	Epoch   uint64 `json:"epoch"`
	Counter uint64 `json:"counter"`
	// ID is the operation's: only it may come again with the same sequence.
	ID string `json:"id"`
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
	payload, err := store.ReadOrSetAside(path, sequenceSchema)
	var corrupt *store.CorruptError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Sequence{}, nil
	case errors.As(err, &corrupt):
		return s.restore(err)
	case err != nil:
		return Sequence{}, fmt.Errorf("cannot tell old operations from new ones: %w", err)
	}
	var last Sequence
	if err := json.Unmarshal(payload, &last); err != nil {
		return Sequence{}, fmt.Errorf("cannot tell old operations from new ones: %s: %w", sequenceFile, err)
	}
	return last, nil
}

// restore finds the last accepted operation in the journals.
func (s *Store) restore(damage error) (Sequence, error) {
	ids, err := s.IDs()
	if err != nil {
		return Sequence{}, err
	}
	var last Sequence
	for _, id := range ids {
		j, err := s.Peek(id)
		if err == nil && last.Before(j.place()) {
			last = j.place()
		}
	}
	s.damaged(fmt.Errorf("cannot read the sequence of the last operation: %w; the journals say %d.%d (operation %q)", damage, last.Epoch, last.Counter, last.ID))
	return last, s.SetSequence(last)
}

// SetSequence puts the sequence of an operation on disk, before its journal
// begins.
func (s *Store) SetSequence(last Sequence) error {
	payload, err := json.Marshal(last)
	if err != nil {
		return fmt.Errorf("cannot encode the sequence: %w", err)
	}
	if err := store.Write(filepath.Join(s.dir, sequenceFile), sequenceSchema, payload); err != nil {
		return fmt.Errorf("cannot keep the sequence of operation %s: %w", last.ID, err)
	}
	return nil
}

// RemoveEnded removes signed bytes that no journal needs any more: of
// operations that ended just before a crash.
func (s *Store) RemoveEnded() error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*"+operationSuffix))
	if err != nil {
		return fmt.Errorf("cannot list operations: %w", err)
	}
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
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("cannot remove the bytes of an ended operation: %w", err)
		}
	}
	return store.SyncDir(s.dir)
}
