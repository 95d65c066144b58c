package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/nodelabels"
	"hybridagent/agent/store"
	"hybridagent/nodeadm"
)

// recordSteps end an operation that has brought a node part about: with the record
// it is past its point of return, and what only the way back needed can go.
func (p *job) recordSteps() []engine.Step {
	return []engine.Step{
		{Name: "record", What: "note what is in force", Percent: 99, Final: true, Check: p.noted, Do: p.record},
		{Name: "tidy", What: "remove what was only needed on the way", Percent: 100, Attempts: 3, Do: p.tidy},
	}
}

// noted reports whether this operation's record is on disk: then an abort came
// too late, also where the process died before it could journal that.
func (p *job) noted(context.Context) (bool, error) {
	state, found, err := applied.ReadState(p.Dir)
	var damaged *applied.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		return false, err
	}
	if !found || state.OperationID != p.op.GetId() {
		return false, nil
	}
	// A power cut may have come before the copy.
	if err := applied.Mirror(p.Dir); err != nil {
		p.Log.Warn("cannot write the copy of the record", zap.String("op_id", p.op.GetId()), zap.Error(err))
	}
	return true, nil
}

// record notes what is in force.
func (p *job) record(ctx context.Context, _ engine.Run) error {
	name, err := p.nodeName(p.spec)
	if err != nil {
		return err
	}
	sum, err := p.nodeadmSum(ctx)
	if err != nil {
		return err
	}
	state := applied.State{
		NodeDigest:        p.digest,
		KubernetesVersion: p.spec.GetKubernetesVersion(),
		NodeIP:            p.nodeIP,
		NodeName:          name,
		OperationID:       p.op.GetId(),
		At:                p.Now(),
		Provider:          nodeadm.Provider(p.spec),
		Nodeadm:           sum,
		Node:              applied.Public(p.spec),
	}
	if p.otherNode(name) {
		if err := nodelabels.Forget(p.Dir); err != nil {
			return err
		}
	}
	return applied.WriteState(p.Dir, state)
}

// otherNode says whether the host is now a Node that it was not before.
func (p *job) otherNode(name string) bool {
	return p.known && (p.former.NodeName != name || p.former.Node != nil && p.former.Node.GetClusterName() != p.spec.GetClusterName())
}

// tidy removes the NodeConfig, which may hold a secret, and what a way back would
// have taken.
func (p *job) tidy(ctx context.Context, run engine.Run) error {
	return errors.Join(p.release(), p.removeConfig(ctx, run))
}

// nodeadmSum is the SHA-256 of the nodeadm that the operation used.
func (p *job) nodeadmSum(ctx context.Context) (string, error) {
	if source := p.spec.GetNodeadm(); source != nil && p.Artifacts != nil {
		return source.GetSha256(), nil
	}
	sum, err := fileSHA256(p.NodeadmPath)
	if errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
		return "", nil // taken away since: nothing depends on it
	}
	return sum, err
}

// removeAll removes files of root's state that may be there or not, durably: what
// is journalled next must not find them again after a power cut. All of them are of
// one folder; one that cannot be removed keeps no other.
func removeAll(paths ...string) error {
	var failed []error
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, fmt.Errorf("cannot remove %s: %w", path, err))
		}
	}
	// Also where there was nothing: a process that died may have removed it.
	return errors.Join(append(failed, store.SyncDir(filepath.Dir(paths[0])))...)
}

// copyFile copies one file for root's eyes.
func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("cannot copy %s: %w", from, err)
	}
	return store.WriteRaw(to, content, 0o600)
}
