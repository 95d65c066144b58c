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
		return ID{}, fmt.Errorf("the file is damaged: %w", err)
	}
	switch {
	case id.Schema > SchemaVersion:
		return ID{}, fmt.Errorf("schema %d is newer than %d, the newest this version reads; install the version that wrote it", id.Schema, SchemaVersion)
	case id.Schema < 1:
		return ID{}, errors.New("the file is damaged: it has no schema number")
	}
	return id, Check(id.ID)
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
// later; a damaged file is set aside and derived again.
func Ensure(path string, opt Options) (ID, error) {
	id, err := Read(path)
	var damaged *json.SyntaxError
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, fs.ErrNotExist):
	case errors.As(err, &damaged), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if _, asideErr := store.SetAside(path); asideErr != nil {
			return ID{}, errors.Join(err, asideErr)
		}
	default:
		return ID{}, err
	}
	if id, err = Derive(opt); err != nil {
		return ID{}, err
	}
	return id, Write(path, id)
}
