package floor

import (
	"fmt"
	"os"
	"path/filepath"
)

// Record returns a function that replaces a file in dir so that a power cut finds the
// old content or the new one, whole: write aside, fsync, rename, fsync of the folder.
func Record(dir string) func([]byte) error {
	path, aside := filepath.Join(dir, "record"), filepath.Join(dir, "record.new")
	return func(content []byte) error {
		if err := writeSynced(aside, content); err != nil {
			return err
		}
		if err := os.Rename(aside, path); err != nil {
			return fmt.Errorf("cannot record: %w", err)
		}
		return syncFolder(dir)
	}
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot record: %w", err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(content); err != nil {
		return fmt.Errorf("cannot record: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cannot record: %w", err)
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot record: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("cannot record: %w", err)
	}
	return nil
}
