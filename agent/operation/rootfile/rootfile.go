// Package rootfile checks that a path belongs to root alone before
// hybrid-agent-op opens it: a path that the daemon's user can change would let
// it lead root wherever it likes.
package rootfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Check refuses a path if it, or a directory above it, can be changed by
// anybody but root or this process's user, or if it is a symbolic link. A
// missing file is fs.ErrNotExist, after its directories were checked.
func Check(path string) error {
	info, err := Entry(path)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("cannot trust %s: it is a symbolic link", path)
	}
	return checkOwner(path, info, false)
}

// Entry checks the directories above a path only, so that nobody but root can
// replace what it names, and returns what that is (a symbolic link is not
// followed). A missing file is fs.ErrNotExist.
func Entry(path string) (fs.FileInfo, error) {
	path = filepath.Clean(path)
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("cannot trust %s: it is no absolute path", path)
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return nil, fmt.Errorf("cannot trust %s: %w", path, err)
		}
		if err := checkOwner(dir, info, true); err != nil {
			return nil, err
		}
		if dir == "/" {
			break
		}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot trust %s: %w", path, err)
	}
	return info, nil
}

// Program is Check for a file that is to be executed as root. Unlike Check it
// follows symbolic links, since images often install programs so; where they
// lead is checked too.
func Program(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot find the program %s: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return fmt.Errorf("cannot find the program %s: %w", path, err)
	}
	if err := Check(real); err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return fmt.Errorf("cannot look at the program %s: %w", path, err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("cannot execute %s: it is no executable file; chmod 0755 it", path)
	}
	return nil
}

// checkOwner refuses what others than root may change. A sticky directory
// (/tmp) keeps others from renaming what is not theirs.
func checkOwner(path string, info fs.FileInfo, dir bool) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("cannot tell who owns %s", path)
	}
	if stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("cannot trust %s: it belongs to user %d; chown it to root", path, stat.Uid)
	}
	sticky := dir && info.Mode()&fs.ModeSticky != 0
	if mode := info.Mode().Perm(); mode&0o022 != 0 && !sticky {
		return fmt.Errorf("cannot trust %s: others than root may write it (mode %04o); chmod go-w it", path, mode)
	}
	return nil
}
