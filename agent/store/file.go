package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// maxSetAside is how many damaged copies of one file are kept for analysis; the
// last is overwritten from then on, so that a dying disk cannot fill itself.
const maxSetAside = 8

// Write replaces the file with the payload: after it returns nil the new content
// survives a power cut, and at every moment before the old or the new one is
// there, whole. A new file has mode 0600.
func Write(path string, schema int, payload []byte) error {
	file, err := Encode(schema, payload)
	if err != nil {
		return err
	}
	return WriteRaw(path, file, 0o600)
}

// WriteRaw replaces a file atomically and durably with bytes that carry no
// header of this package, for formats that others read (PEM, JSON).
func WriteRaw(path string, content []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	err := renameio.WriteFile(path, content, mode,
		renameio.WithTempDir(dir), renameio.WithStaticPermissions(mode))
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return SyncDir(dir)
}

// SyncDir makes renames and removals in a directory durable; renameio syncs only
// the file.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot sync directory %s: %w", dir, err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("cannot sync directory %s: %w", dir, err)
	}
	return nil
}

// Read returns the payload of a file. Errors: fs.ErrNotExist where there is
// none, *CorruptError for a damaged one, *SchemaError for one of another schema;
// each wrapped with the path.
func Read(path string, schema int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	// One byte more than allowed shows that a file is too long without reading
	// the rest of it.
	content, err := io.ReadAll(io.LimitReader(f, int64(headerSize)+MaxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	payload, have, err := Decode(content)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	if have != schema {
		return nil, fmt.Errorf("cannot read %s: %w", path, &SchemaError{Have: have, Want: schema})
	}
	return payload, nil
}

// ReadOrSetAside is Read, but a damaged file is moved to PATH.corrupt-<n>; the
// error, still a *CorruptError, then says where it is. The caller goes on without.
func ReadOrSetAside(path string, schema int) ([]byte, error) {
	payload, err := Read(path, schema)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) {
		return payload, err
	}
	aside, moveErr := SetAside(path)
	if moveErr != nil {
		return nil, errors.Join(err, moveErr)
	}
	return nil, fmt.Errorf("%w; it was set aside as %s", err, aside)
}

// SetAside renames a damaged file to PATH.corrupt-<n>, n from 1, and returns the
// new path.
func SetAside(path string) (string, error) {
	aside := ""
	for n := 1; n <= maxSetAside; n++ {
		aside = fmt.Sprintf("%s.corrupt-%d", path, n)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("cannot set aside %s: %w", path, err)
	}
	return aside, SyncDir(filepath.Dir(path))
}
