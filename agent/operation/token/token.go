// Package token removes the enrolment token once it has been used.
package token

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"hybridagent/agent/operation/rootfile"
)

// Erase overwrites and removes the token file. One that is not there is no
// error: it is what was asked for. A token that belongs to the daemon's user is
// only removed: root writes to nothing that others own.
func Erase(path string) error {
	info, err := rootfile.Entry(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot erase the enrolment token: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("cannot erase the enrolment token: %s is no regular file", path)
	}
	if rootfile.Check(path) == nil {
		if err := overwrite(path, info.Size()); err != nil {
			return fmt.Errorf("cannot overwrite the enrolment token: %w", err)
		}
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("cannot remove the enrolment token: %w", err)
	}
	return nil
}

// maxToken bounds what is overwritten, in bytes.
const maxToken = 64 << 10

// overwrite is worth little on flash and copying filesystems, and costs nothing.
func overwrite(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Write(make([]byte, min(size, maxToken))); err != nil {
		return err
	}
	return file.Sync()
}
