package store

import (
	"fmt"
	"io"
	"os"
)

// maxSetAside is how many damaged copies of one file are kept for analysis; the
// last is overwritten from then on, so that a dying disk cannot fill itself.
const maxSetAside = 8

// Write replaces the file with the payload: after it returns nil the new content
// survives a power cut, and at every moment before the old or the new one is
// there, whole. A new file has mode 0600.
func Write(path string, schema int, payload []byte) error {
	return Disk{}.Write(path, schema, payload)
}

// WriteRaw replaces a file atomically and durably with bytes that carry no
// header of this package, for formats that others read (PEM, JSON).
func WriteRaw(path string, content []byte, mode os.FileMode) error {
	return Disk{}.WriteRaw(path, content, mode)
}

// SyncDir makes renames and removals in a directory durable.
func SyncDir(dir string) error { return Disk{}.SyncDir(dir) }

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
	return Disk{}.ReadOrSetAside(path, schema)
}

// SetAside renames a damaged file to PATH.corrupt-<n>, n from 1, and returns the
// new path.
func SetAside(path string) (string, error) { return Disk{}.SetAside(path) }
