package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// durationsFile holds what steps took on this host, durationsSchema is the number
// of its format.
const (
	durationsFile   = "durations"
	durationsSchema = 1
)

// Durations returns what steps took on this host before, by name; nil where
// nothing is known.
func (s *Store) Durations() (map[string]time.Duration, error) {
	payload, err := s.disk.ReadOrSetAside(filepath.Join(s.dir, durationsFile), durationsSchema)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var took map[string]time.Duration
	if err := json.Unmarshal(payload, &took); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", durationsFile, err)
	}
	return took, nil
}

// SetDurations puts on disk what steps took.
func (s *Store) SetDurations(took map[string]time.Duration) error {
	payload, err := json.Marshal(took)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", durationsFile, err)
	}
	return s.disk.Write(filepath.Join(s.dir, durationsFile), durationsSchema, payload)
}
