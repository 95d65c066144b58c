package store

import "os"

// OS is the real FS.
type OS struct{}

// CreateTemp is the FS's.
func (OS) CreateTemp(dir, prefix string, mode os.FileMode) (File, error) {
	file, err := os.CreateTemp(dir, prefix+"*")
	if err != nil {
		return nil, err
	}
	// The umask must not take away what the caller asked for.
	if err := file.Chmod(mode); err != nil {
		_ = file.Close()
		_ = os.Remove(file.Name())
		return nil, err
	}
	return osFile{file}, nil
}

// Open is the FS's.
func (OS) Open(path string) (File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	return osFile{file}, nil
}

// Rename is the FS's.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is the FS's.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir is the FS's.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// osFile is the real File.
type osFile struct{ *os.File }

// Size is the File's.
func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
