package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockName is the name of the lock file in a state directory.
const LockName = "lock"

// Lock is an exclusive lock on a state directory. The kernel drops it with the
// process, so a crash leaves nothing to clean up.
type Lock struct{ file *os.File }

// Acquire takes the lock of a directory, or fails at once with an error that
// names the process that holds it.
func Acquire(dir string) (*Lock, error) {
	path := filepath.Join(dir, LockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := readHolder(f)
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("cannot lock %s: process %s uses it; stop that one first, "+
				"or give each of the two a directory of its own", dir, holder)
		}
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	// Always as long, so that it takes the former one's place: shortening the
	// file would cost a start that counts microseconds a change of its blocks.
	pid := fmt.Appendf(nil, "%-10d\n", os.Getpid())
	if _, err := f.WriteAt(pid, 0); err != nil && !errors.Is(err, unix.ENOSPC) {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	return &Lock{file: f}, nil
}

// Release drops the lock. The file stays: removing it would let two processes
// lock different files of the same name.
func (l *Lock) Release() error { return l.file.Close() }

func readHolder(f *os.File) string {
	buf := make([]byte, 32)
	n, _ := f.ReadAt(buf, 0)
	text := strings.TrimSpace(string(buf[:n]))
	if _, err := strconv.Atoi(text); err != nil {
		return "(unknown)"
	}
	return text
}
