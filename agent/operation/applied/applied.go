// Package applied owns root's record of what a host was brought to: the node
// part in force, and what nodeadm installed.
package applied

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"hybridagent/agent/store"
)

// Names and schemas of the files. What was applied is kept twice: nothing else on
// the host tells it.
const (
	appliedFile     = "applied"
	appliedCopy     = "applied.copy"
	appliedSchema   = 2
	installedFile   = "installed"
	installedSchema = 1
)

// Installed is what the last successful nodeadm install put on the host.
// nodeadm's own tracker holds no version.
type Installed struct {
	// KubernetesVersion that was installed.
	KubernetesVersion string `json:"kubernetesVersion"`
	// Arguments of the install.
	Arguments []string `json:"arguments"`
	// KubeletSHA256 is the hexadecimal SHA-256 of the kubelet binary.
	KubeletSHA256 string `json:"kubeletSHA256"`
}

// DamagedError tells of a damaged record; what is returned beside it holds all
// the same.
type DamagedError struct{ Err error }

// Error says what was damaged and what became of it.
func (d *DamagedError) Error() string { return d.Err.Error() }

// Unwrap returns the damage.
func (d *DamagedError) Unwrap() error { return d.Err }

// ReadState returns what is in force; false where the host was never
// provisioned. A damaged record is set aside and taken from its copy; the error
// is then a *DamagedError. Where the copy is gone as well, the host counts as not
// provisioned, and Lost says so.
func ReadState(dir string) (State, bool, error) {
	path := filepath.Join(dir, appliedFile)
	state, found, err := readState(path)
	var damaged *DamagedError
	if !errors.As(err, &damaged) {
		return state, found, err
	}
	aside, asideErr := store.SetAside(path)
	if asideErr != nil && !errors.Is(asideErr, fs.ErrNotExist) {
		return State{}, false, errors.Join(err, asideErr)
	}
	state, found, copyErr := readState(filepath.Join(dir, appliedCopy))
	if copyErr != nil || !found {
		return State{}, false, &DamagedError{fmt.Errorf("%w; it was set aside as %s, and its copy is no better; %s", err, aside, provisionAgain)}
	}
	if err := writeState(path, state); err != nil {
		return State{}, false, err
	}
	return state, true, &DamagedError{fmt.Errorf("%w; it was set aside as %s and restored from its copy", err, aside)}
}

// provisionAgain is what an operator does about a lost record.
const provisionAgain = "what this host was provisioned with is not known any more: provision it again with 'hybridctl provision'"

// Lost says what to do on a host whose record was damaged beyond repair; empty
// on all others.
func Lost(dir string) string {
	path := filepath.Join(dir, appliedFile)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if aside, err := filepath.Glob(path + ".corrupt-*"); err != nil || len(aside) == 0 {
		return ""
	}
	return provisionAgain
}

// WriteState puts on disk what is in force, without its secrets. The record comes
// first: an error says that what was in force before still is, by the copy too. A
// copy that cannot be written is removed, as it would tell of what is no more.
func WriteState(dir string, state State) error {
	if err := writeState(filepath.Join(dir, appliedFile), state); err != nil {
		return err
	}
	path := filepath.Join(dir, appliedCopy)
	if writeState(path, state) == nil {
		return nil
	}
	if err := os.Remove(path); err == nil || errors.Is(err, fs.ErrNotExist) {
		return store.SyncDir(dir)
	}
	// The record holds: it would be wrong to say that it does not.
	return nil
}

// Mirror brings the copy to what the record says; for after a power cut, which may
// have come between the two.
func Mirror(dir string) error {
	state, found, err := readState(filepath.Join(dir, appliedFile))
	if err != nil || !found {
		return err
	}
	return writeState(filepath.Join(dir, appliedCopy), state)
}

// Forget removes every record of a node, the damaged ones included: the host is
// none any more. It may be called again after a crash in the middle of it.
func Forget(dir string) error {
	paths := []string{filepath.Join(dir, appliedFile), filepath.Join(dir, appliedCopy), filepath.Join(dir, installedFile)}
	for _, path := range slices.Clone(paths) {
		aside, err := filepath.Glob(path + ".corrupt-*")
		if err != nil {
			return fmt.Errorf("cannot list damaged records: %w", err)
		}
		paths = append(aside, paths...)
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot forget what was applied: %w", err)
		}
	}
	return store.SyncDir(dir)
}

// ReadInstalled returns what was installed; false where nothing was. A damaged
// record is a *DamagedError.
func ReadInstalled(dir string) (Installed, bool, error) {
	var installed Installed
	found, err := read(filepath.Join(dir, installedFile), installedSchema, &installed)
	return installed, found, err
}

// WriteInstalled puts on disk what was installed.
func WriteInstalled(dir string, installed Installed) error {
	return write(filepath.Join(dir, installedFile), installedSchema, installed)
}

func read(path string, schema int, into any) (bool, error) {
	payload, err := store.Read(path, schema)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	var corrupt *store.CorruptError
	if errors.As(err, &corrupt) {
		return false, &DamagedError{err}
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(payload, into); err != nil {
		return false, &DamagedError{fmt.Errorf("cannot read %s: %w", path, err)}
	}
	return true, nil
}

func write(path string, schema int, value any) error {
	payload, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", path, err)
	}
	return store.Write(path, schema, payload)
}
