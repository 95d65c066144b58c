package hostid

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"hybridagent/agent/store"
)

// SchemaVersion is the newest format of the file.
const SchemaVersion = 1

// FileName is the file's name in hybrid-agent-op's state directory.
const FileName = "host-id"

// maxFile bounds the file, in bytes.
const maxFile = 16 << 10

// ErrDamaged says that the file was truncated or altered.
var ErrDamaged = errors.New("the file is damaged")

// Read returns the host ID on disk. Errors: fs.ErrNotExist where there is none
// yet; else the file is damaged or of a newer version.
func Read(path string) (ID, error) {
	f, err := os.Open(path)
	if err != nil {
		return ID{}, fmt.Errorf("cannot read the host ID: %w", err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return ID{}, fmt.Errorf("cannot read the host ID: %w", err)
	}
	id, err := parse(content)
	if err != nil {
		return ID{}, fmt.Errorf("cannot read the host ID from %s: %w", path, err)
	}
	return id, nil
}

func parse(content []byte) (ID, error) {
	var id ID
	if err := json.NewDecoder(bytes.NewReader(content)).Decode(&id); err != nil {
		return ID{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	switch {
	case id.Schema > SchemaVersion:
		return ID{}, fmt.Errorf("schema %d is newer than %d, the newest this version reads; install the version that wrote it", id.Schema, SchemaVersion)
	case id.Schema < 1:
		return ID{}, fmt.Errorf("%w: it has no schema number", ErrDamaged)
	}
	if err := Check(id.ID); err != nil {
		return ID{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return id, nil
}

// Write puts the host ID on disk, atomically and durably, with mode 0640.
func Write(path string, id ID) error {
	if err := Check(id.ID); err != nil {
		return err
	}
	id.Schema = SchemaVersion
	content, err := json.Marshal(id)
	if err != nil {
		return fmt.Errorf("cannot encode the host ID: %w", err)
	}
	return store.WriteRaw(path, append(content, '\n'), 0o640)
}

// Ensure returns the host ID on disk, or derives and writes one where there is
// none. A host ID once written stays, whatever hardware or configuration says
// later; a damaged file is set aside and derived again, which gives the same ID
// unless it was a random one or the configuration has changed since.
func Ensure(path string, opt Options) (ID, error) {
	id, err := Read(path)
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, ErrDamaged):
		aside, asideErr := store.SetAside(path)
		if asideErr != nil {
			return ID{}, errors.Join(err, asideErr)
		}
		if opt.Warn != nil {
			opt.Warn(fmt.Errorf("%w; it was set aside as %s, and the host ID is derived again", err, aside))
		}
	default:
		return ID{}, err
	}
	if id, err = Derive(opt); err != nil {
		return ID{}, err
	}
	return id, Write(path, id)
}
