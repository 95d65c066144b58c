package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// FS is how state reaches a disk. The real one is the zero Disk's; a test may
// stand between, to see what is written and to lose what a power cut would.
type FS interface {
	// CreateTemp makes a new file for writing in a directory; its name is prefix and
	// something random, its mode is exact.
	CreateTemp(dir, prefix string, mode os.FileMode) (File, error)
	// Open opens a file that exists for writing at its end.
	Open(path string) (File, error)
	// Rename puts a file in the place of another.
	Rename(from, to string) error
	// Remove removes a file.
	Remove(path string) error
	// SyncDir makes what became of a directory's names durable.
	SyncDir(dir string) error
}

// File is a file that is written.
type File interface {
	io.Writer
	// Name is its path.
	Name() string
	// Size is its length in bytes.
	Size() (int64, error)
	// Truncate drops its end.
	Truncate(size int64) error
	// Sync makes its content durable, but not its name.
	Sync() error
	// Close ends the writing.
	Close() error
}

// Disk writes files of state through an FS. The zero Disk writes to the real one.
type Disk struct{ fs FS }

// On returns a disk that writes through fs.
func On(fs FS) Disk { return Disk{fs: fs} }

func (d Disk) system() FS {
	if d.fs == nil {
		return OS{}
	}
	return d.fs
}

// tempMark stands in the name of a file that is to replace another.
const tempMark = ".tmp-"

// WriteRaw is the function of this name, on this disk.
func (d Disk) WriteRaw(path string, content []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	if err := d.replace(dir, path, content, mode); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return d.SyncDir(dir)
}

// replace writes a file beside another and puts it in that one's place once its
// content is on disk.
func (d Disk) replace(dir, path string, content []byte, mode os.FileMode) error {
	file, err := d.system().CreateTemp(dir, "."+filepath.Base(path)+tempMark, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = d.system().Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, d.system().Remove(file.Name()))
	}
	return nil
}

// Write is the function of this name, on this disk.
func (d Disk) Write(path string, schema int, payload []byte) error {
	file, err := Encode(schema, payload)
	if err != nil {
		return err
	}
	return d.WriteRaw(path, file, 0o600)
}

// SyncDir is the function of this name, on this disk.
func (d Disk) SyncDir(dir string) error {
	if err := d.system().SyncDir(dir); err != nil {
		return fmt.Errorf("cannot sync directory %s: %w", dir, err)
	}
	return nil
}

// Append adds to a file that exists, durably; its size is metadata that fsync
// covers, so the directory needs no sync. When the write or its fsync fails, what
// was written of the content is taken back: what stands behind a torn piece might
// never be read, and whoever was told of the error must not meet the content later.
// Where that fails too, the error is an *UncertainError.
func (d Disk) Append(path string, content []byte) error {
	file, err := d.system().Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	size, err := file.Size()
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		return nil
	}
	back := file.Truncate(size)
	if back == nil {
		back = file.Sync()
	}
	if back != nil {
		return &UncertainError{Path: path, Size: size, Err: errors.Join(err, back)}
	}
	return err
}

// UncertainError says that what was to be added to a file may be there all the
// same. Nothing may be added behind it before the file was truncated to Size.
type UncertainError struct {
	// Path is the file's.
	Path string
	// Size is its length in bytes without what was to be added.
	Size int64
	// Err is why it was not added, and why it was not taken back.
	Err error
}

// Error says both.
func (u *UncertainError) Error() string {
	return fmt.Sprintf("cannot take back what was written of %s: %v", u.Path, u.Err)
}

// Unwrap returns both.
func (u *UncertainError) Unwrap() error { return u.Err }

// Truncate drops the end of a file, durably.
func (d Disk) Truncate(path string, size int64) error {
	file, err := d.system().Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := file.Truncate(size); err != nil {
		return err
	}
	return file.Sync()
}

// Remove removes a file; SyncDir makes that durable.
func (d Disk) Remove(path string) error { return d.system().Remove(path) }

// RemoveTemps removes what writes that were cut short have left in a directory:
// nobody would, and it may hold a secret. Only for a directory in which nobody
// writes at that moment.
func (d Disk) RemoveTemps(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, ".*"+tempMark+"*"))
	if err != nil || len(left) == 0 {
		return err
	}
	for _, path := range left {
		if err := d.Remove(path); err != nil {
			return fmt.Errorf("cannot remove what a write left: %w", err)
		}
	}
	return d.SyncDir(dir)
}

// ReadOrSetAside is the function of this name, on this disk.
func (d Disk) ReadOrSetAside(path string, schema int) ([]byte, error) {
	payload, err := Read(path, schema)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) {
		return payload, err
	}
	aside, moveErr := d.SetAside(path)
	if moveErr != nil {
		return nil, errors.Join(err, moveErr)
	}
	return nil, fmt.Errorf("%w; it was set aside as %s", err, aside)
}

// SetAside is the function of this name, on this disk.
func (d Disk) SetAside(path string) (string, error) {
	aside := ""
	for n := 1; n <= maxSetAside; n++ {
		aside = fmt.Sprintf("%s.corrupt-%d", path, n)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if err := d.system().Rename(path, aside); err != nil {
		return "", fmt.Errorf("cannot set aside %s: %w", path, err)
	}
	return aside, d.SyncDir(filepath.Dir(path))
}
