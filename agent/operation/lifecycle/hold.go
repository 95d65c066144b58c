package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/store"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/nodeapi"
)

// Name and schema of the file that tells how the host looked before nodeadm ran.
const (
	heldFile   = "held"
	heldSchema = 1
)

// held is how the host looked before an operation changed it.
type held struct {
	// Operation is the one that may change it.
	Operation string `json:"operation"`
	// Files are SHA-256 by path; empty where there is none.
	Files map[string]string `json:"files"`
	// Returning says that the way back was begun: what looks as before may be half
	// of it.
	Returning bool `json:"returning,omitempty"`
	// Server is the API server's address, a URL; empty where there was none.
	Server string `json:"server,omitempty"`
	// Stopped says that kubelet did not run even then.
	Stopped bool `json:"stopped,omitempty"`
}

// heldPaths are files by which a node that was changed is told from one that was
// not: an upgrade that fails at DescribeCluster has left new binaries, a refused
// init has written the AWS profile.
func heldPaths() []string {
	return []string{
		nodeadm.KubeletPath, nodeadm.TrackerPath, nodeadm.KubeconfigPath, nodeadm.ContainerdConfigPath,
		"/etc/kubernetes/kubelet/config.json", "/etc/kubernetes/kubelet/config.json.d/00-nodeadm.conf",
		"/etc/eks/kubelet/environment", "/etc/aws/hybrid/config", "/etc/containerd/config.toml",
		"/etc/systemd/system/kubelet.service",
	}
}

// hold notes how the host looks, once: after a crash in the middle of nodeadm it
// looks otherwise.
func (p *job) hold(ctx context.Context, _ engine.Run) error {
	if before, err := p.readHeld(); err == nil && before.Operation == p.op.GetId() {
		return nil
	}
	files, err := p.fingerprint()
	if err != nil {
		return err
	}
	server, err := nodeapi.Server(p.kubeconfig())
	if err != nil {
		p.Log.Sugar().Warnw("cannot tell where the Kubernetes API is", "op_id", p.op.GetId(), "error", err)
	}
	return p.writeHeld(held{Operation: p.op.GetId(), Files: files, Server: server, Stopped: p.kubeletState(ctx) == "inactive"})
}

func (p *job) writeHeld(before held) error {
	payload, err := json.Marshal(before)
	if err != nil {
		return fmt.Errorf("cannot encode how the host looks: %w", err)
	}
	return store.Write(filepath.Join(p.Dir, heldFile), heldSchema, payload)
}

func (p *job) readHeld() (held, error) {
	payload, err := store.Read(filepath.Join(p.Dir, heldFile), heldSchema)
	if err != nil {
		return held{}, err
	}
	var before held
	if err := json.Unmarshal(payload, &before); err != nil {
		return held{}, fmt.Errorf("cannot read how the host looked: %w", err)
	}
	return before, nil
}

// fingerprint reads the files by which a change is seen.
func (p *job) fingerprint() (map[string]string, error) {
	files := map[string]string{}
	for _, path := range heldPaths() {
		sum, err := fileSHA256(filepath.Join(p.Root, path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		files[path] = sum
	}
	return files, nil
}

// untouched says whether the host still looks as it did before the operation, and
// runs kubelet if it did then.
func (p *job) untouched(ctx context.Context) (bool, error) {
	before, err := p.readHeld()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil // it was not even noted: nothing came after
	case err != nil:
		p.Log.Sugar().Warnw("cannot tell how the host looked; returning to what was in force all the same", "op_id", p.op.GetId(), "error", err)
		before = held{Returning: true}
	}
	now, err := p.fingerprint()
	if err != nil {
		return false, err
	}
	for path, sum := range before.Files {
		if now[path] != sum {
			return false, nil
		}
	}
	if !before.Stopped && p.kubeletState(ctx) == "inactive" {
		return false, nil
	}
	return before.Operation == p.op.GetId() && !before.Returning, nil
}

// release forgets how the host looked: there is no way back any more, or none is
// needed.
func (p *job) release() error {
	return removeAll(p.heldFiles()...)
}

// heldFiles are what an operation keeps for its way back.
func (p *job) heldFiles() []string {
	return []string{filepath.Join(p.Dir, heldFile), filepath.Join(p.Dir, evidenceFile)}
}
