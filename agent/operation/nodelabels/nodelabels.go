// Package nodelabels gives the Node the labels of its NodePool, as far as a node
// may, and takes away those that it gave before. It remembers which those were, so
// that labels of others stay.
package nodelabels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/store"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/nodeapi"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Name and schema of the file with the keys that were set.
const (
	file   = "node-labels"
	schema = 1
)

// API is what setting labels asks of the Kubernetes API: nodeapi.Client.
type API interface {
	Node(ctx context.Context, name string) (nodeapi.Node, error)
	SetLabels(ctx context.Context, name string, set map[string]string, remove []string) (changed bool, restricted []string, err error)
	Close()
}

// Options are the setter's settings.
type Options struct {
	// Dir is root's state directory.
	Dir string
	// Root prefixes nodeadm's files.
	Root string
	// Open opens the Kubernetes API with a kubeconfig; OpenAPI but in tests.
	Open func(kubeconfig string) (API, error)
}

// OpenAPI is nodeapi.Open as Options want it.
func OpenAPI(kubeconfig string) (API, error) { return nodeapi.Open(kubeconfig) }

// Setter sets labels, one request at a time.
type Setter struct {
	opt   Options
	mutex sync.Mutex
}

// New returns a setter.
func New(opt Options) *Setter { return &Setter{opt: opt} }

// ErrNoNode says that this host is no node.
var ErrNoNode = errors.New("this host is no node yet")

// Set gives the Node these labels and no other of those that it was given before.
// Errors: ErrNoNode; a label that is none; what the Kubernetes API answers.
func (s *Setter) Set(ctx context.Context, labels map[string]string) (*agentv1.SetNodeLabelsReply, error) {
	if err := nodeadm.CheckLabels(labels); err != nil {
		return nil, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	state, found, err := applied.ReadState(s.opt.Dir)
	var damaged *applied.DamagedError
	switch {
	case err != nil && !errors.As(err, &damaged):
		return nil, err
	case !found:
		return nil, fmt.Errorf("cannot label the Node: %w", ErrNoNode)
	}
	before, err := s.read()
	if err != nil {
		return nil, err
	}
	return s.change(ctx, state.NodeName, labels, before)
}

// change sets and removes. What is about to be set is remembered first: a label that
// was set and forgotten would never be removed.
func (s *Setter) change(ctx context.Context, name string, labels map[string]string, before []string) (*agentv1.SetNodeLabelsReply, error) {
	wanted := slices.DeleteFunc(slices.Sorted(maps.Keys(labels)), func(key string) bool { return !nodeadm.KubeletMaySet(key) })
	both := slices.Compact(slices.Sorted(slices.Values(slices.Concat(before, wanted))))
	if err := s.keep(both, before); err != nil {
		return nil, err
	}
	api, err := s.opt.Open(filepath.Join(s.opt.Root, nodeadm.KubeconfigPath))
	if err != nil {
		return nil, err
	}
	defer api.Close()
	gone := slices.DeleteFunc(slices.Clone(before), func(key string) bool { return slices.Contains(wanted, key) })
	changed, restricted, err := api.SetLabels(ctx, name, labels, gone)
	if err != nil {
		return nil, err
	}
	if restricted, err = lacking(ctx, api, name, labels, restricted); err != nil {
		return nil, err
	}
	return &agentv1.SetNodeLabelsReply{Changed: changed, Restricted: restricted}, s.keep(wanted, both)
}

// lacking leaves out the labels that an administrator has set already.
func lacking(ctx context.Context, api API, name string, labels map[string]string, restricted []string) ([]string, error) {
	restricted = slices.DeleteFunc(restricted, func(key string) bool { _, wanted := labels[key]; return !wanted })
	if len(restricted) == 0 {
		return nil, nil
	}
	node, err := api.Node(ctx, name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(restricted, func(key string) bool { have, ok := node.Labels[key]; return ok && have == labels[key] }), nil
}

// read returns the keys that were set before; none where the file is damaged: then
// labels stay that should go, which does no harm to others.
func (s *Setter) read() ([]string, error) {
	payload, err := store.ReadOrSetAside(filepath.Join(s.opt.Dir, file), schema)
	var corrupt *store.CorruptError
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &corrupt):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var keys []string
	if err := json.Unmarshal(payload, &keys); err != nil {
		return nil, nil //nolint:nilerr // as a damaged file
	}
	return keys, nil
}

// Forget removes what is remembered of a Node's labels: on another Node they are of
// others. It may be called again after a crash in the middle of it.
func Forget(dir string) error {
	path := filepath.Join(dir, file)
	aside, err := filepath.Glob(path + ".corrupt-*")
	if err != nil {
		return fmt.Errorf("cannot list damaged files: %w", err)
	}
	for _, one := range append(aside, path) {
		if err := os.Remove(one); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot forget the keys of labels: %w", err)
		}
	}
	return store.SyncDir(dir)
}

// keep puts keys on disk, unless they are what is there.
func (s *Setter) keep(keys, there []string) error {
	if slices.Equal(keys, there) {
		return nil
	}
	payload, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("cannot encode the keys of labels: %w", err)
	}
	return store.Write(filepath.Join(s.opt.Dir, file), schema, payload)
}
