// Package token removes the enrolment token once it has been used.
package token

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"hybridagent/agent/operation/rootfile"
)

// Erase overwrites and removes the token file. One that is not there is no
// error: it is what was asked for.
func Erase(path string) error {
	if err := rootfile.Check(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("cannot erase the enrolment token: %w", err)
	}
	if err := overwrite(path); err != nil {
		return fmt.Errorf("cannot overwrite the enrolment token: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("cannot remove the enrolment token: %w", err)
	}
	return nil
}

// overwrite is worth little on flash and copying filesystems, and costs nothing.
func overwrite(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	if _, err := file.Write(make([]byte, min(info.Size(), 64<<10))); err != nil {
		return err
	}
	return file.Sync()
}
