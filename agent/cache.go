package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/store"
	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Files in the daemon's state directory, besides the identity. Each is a file of
// package store; the first three hold an encoded AssignmentUpdate.
const (
	// AssignmentFile is the assignment in force.
	AssignmentFile = "assignment"
	// ProvisionedFile is the assignment whose node part was last applied: its
	// network part stays in force until an operation brings another.
	ProvisionedFile = "provisioned"
	// pendingFile is the assignment of the operation under way.
	pendingFile = "pending"
	// nicFile is what is remembered of the NIC that was selected last.
	nicFile = "nic"
	// offeredFile is there only while a full disk is tried.
	offeredFile = "offered"
)

const (
	cacheSchema = 1
	nicSchema   = 2 // 1 held a name only
)

// cache keeps state over restarts. Its reads never fail for damage: what is
// damaged is set aside, and the plane sends it again.
type cache struct{ dir string }

func (c cache) path(name string) string { return filepath.Join(c.dir, name) }

// load returns a cached assignment; nil without an error where there is none.
func (c cache) load(name string) (*assignment, error) {
	payload, err := store.ReadOrSetAside(c.path(name), cacheSchema)
	var corrupt *store.CorruptError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.As(err, &corrupt):
		return nil, fmt.Errorf("%w; the plane sends the assignment again once it is reached, until then no route is installed from it", err)
	case err != nil:
		return nil, err
	}
	update := &agentv1.AssignmentUpdate{}
	if err := proto.Unmarshal(payload, update); err != nil {
		return nil, fmt.Errorf("cannot parse %s: %w; the plane sends it again once it is reached", c.path(name), err)
	}
	a, refusals := checkAssignment(update, "")
	if len(refusals) > 0 {
		return nil, fmt.Errorf("cannot use %s: %s: %s; the plane sends it again once it is reached",
			c.path(name), refusals[0].GetField(), refusals[0].GetReason())
	}
	return a, nil
}

func (c cache) save(name string, a *assignment) error {
	payload, err := proto.Marshal(a.update)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", name, err)
	}
	return store.Write(c.path(name), cacheSchema, payload)
}

// remove forgets an assignment; one that is not there is none to forget.
func (c cache) remove(name string) error {
	if err := os.Remove(c.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %s: %w", name, err)
	}
	return store.SyncDir(c.dir)
}

// room says whether an assignment can be written: it writes one and removes it, so
// that a full disk is not found out halfway through a change.
func (c cache) room(a *assignment) error {
	if err := c.save(offeredFile, a); err != nil {
		return err
	}
	if err := os.Remove(c.path(offeredFile)); err != nil {
		return fmt.Errorf("cannot remove what was written: %w", err)
	}
	return nil
}

// loadNIC returns what is known of the NIC that was selected last; nothing where
// that cannot be read: it is selected anew.
func (c cache) loadNIC() netcfg.Remembered {
	var nic netcfg.Remembered
	payload, err := store.ReadOrSetAside(c.path(nicFile), nicSchema)
	if err != nil || json.Unmarshal(payload, &nic) != nil {
		return netcfg.Remembered{}
	}
	return nic
}

func (c cache) saveNIC(nic netcfg.Remembered) error {
	payload, err := json.Marshal(nic)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", nicFile, err)
	}
	return store.Write(c.path(nicFile), nicSchema, payload)
}
