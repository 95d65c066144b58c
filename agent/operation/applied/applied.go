// Package applied owns root's record of what a host was brought to: the node
// part in force, and what nodeadm installed.
package applied

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"hybridagent/agent/store"
)

// Names and schemas of the two files.
const (
	appliedFile     = "applied"
	appliedSchema   = 1
	installedFile   = "installed"
	installedSchema = 1
)

// State is the node part that is in force.
type State struct {
	// NodeDigest is the plane's digest of it.
	NodeDigest string `json:"nodeDigest"`
	// KubernetesVersion is its Kubernetes version.
	KubernetesVersion string `json:"kubernetesVersion"`
	// NodeIP is the address given to kubelet.
	NodeIP string `json:"nodeIP"`
	// NodeName is the Node's name.
	NodeName string `json:"nodeName"`
	// OperationID is the operation that applied it.
	OperationID string `json:"operationID"`
	// At is when, by the host's clock.
	At time.Time `json:"at"`
}

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

// ReadState returns what is in force; false where the host was never
// provisioned.
func ReadState(dir string) (State, bool, error) {
	var state State
	found, err := read(filepath.Join(dir, appliedFile), appliedSchema, &state)
	return state, found, err
}

// WriteState puts on disk what is in force.
func WriteState(dir string, state State) error {
	return write(filepath.Join(dir, appliedFile), appliedSchema, state)
}

// ReadInstalled returns what was installed; false where nothing was.
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
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(payload, into); err != nil {
		return false, fmt.Errorf("cannot read %s: %w", path, err)
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
