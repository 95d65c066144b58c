package lifecycle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/engine"
	"hybridagent/agent/store"
	"hybridagent/nodeadm"
)

// installArgs are the arguments of nodeadm install. Its own timeout ends a
// little before ours: its message is the better one.
func (p *job) installArgs() ([]string, error) {
	return nodeadm.InstallArgs(p.spec, p.Manifest, max(p.InstallDeadline-15*time.Second, time.Second))
}

// installed reports whether the same install was done before and its kubelet is
// still in place.
func (p *job) installed(context.Context) (bool, error) {
	args, err := p.installArgs()
	if err != nil {
		return false, err
	}
	record, found, err := applied.ReadInstalled(p.Dir)
	if err != nil {
		p.Log.Warn("cannot tell what was installed; installing again", zap.String("op_id", p.op.GetId()), zap.Error(err))
		return false, nil
	}
	if !found || !slices.Equal(record.Arguments, args) {
		return false, nil
	}
	// A tracker or kubelet that cannot be read only means to install again.
	_, trackerErr := nodeadm.ReadTracker(p.Root)
	sum, sumErr := fileSHA256(filepath.Join(p.Root, nodeadm.KubeletPath))
	return trackerErr == nil && sumErr == nil && sum == record.KubeletSHA256, nil
}

func (p *job) install(ctx context.Context, run engine.Run) error {
	if err := p.removeBrokenTracker(); err != nil {
		return err
	}
	args, err := p.installArgs()
	if err != nil {
		return &engine.Permanent{Err: err}
	}
	run.Say("installing Kubernetes " + p.spec.GetKubernetesVersion() + " with nodeadm")
	if err := p.nodeadm(ctx, run, nodeadm.Install, args); err != nil {
		return err
	}
	sum, err := fileSHA256(filepath.Join(p.Root, nodeadm.KubeletPath))
	if err != nil {
		return fmt.Errorf("nodeadm install exited 0 but left no kubelet: %w", err)
	}
	return applied.WriteInstalled(p.Dir, applied.Installed{
		KubernetesVersion: p.spec.GetKubernetesVersion(), Arguments: args, KubeletSHA256: sum,
	})
}

// removeBrokenTracker deletes a tracker on which every nodeadm command would
// panic; install writes a new one.
func (p *job) removeBrokenTracker() error {
	_, err := nodeadm.ReadTracker(p.Root)
	var broken *nodeadm.BrokenTrackerError
	if !errors.As(err, &broken) {
		return nil
	}
	p.Log.Warn("removed a damaged nodeadm tracker", zap.String("op_id", p.op.GetId()), zap.Error(err))
	if err := os.Remove(broken.Path); err != nil {
		return fmt.Errorf("cannot remove nodeadm's damaged tracker: %w", err)
	}
	return nil
}

func (p *job) render(context.Context, engine.Run) error {
	ip, err := netip.ParseAddr(p.op.GetNodeIp())
	if err != nil {
		return &engine.Permanent{Err: fmt.Errorf("cannot use node IP %q: %w", p.op.GetNodeIp(), err)}
	}
	config, err := nodeadm.Render(p.spec, ip)
	if err != nil {
		return &engine.Permanent{Err: err}
	}
	content, err := config.Marshal()
	if err != nil {
		return err
	}
	return store.WriteRaw(p.configPath(), content, 0o600)
}

func (p *job) removeConfig(context.Context, engine.Run) error {
	if err := os.Remove(p.configPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the NodeConfig: %w", err)
	}
	return nil
}

func (p *job) configCheck(ctx context.Context, run engine.Run) error {
	run.Say("checking the NodeConfig with nodeadm")
	return p.nodeadm(ctx, run, nodeadm.ConfigCheck, nodeadm.ConfigCheckArgs(p.configPath()))
}

func (p *job) init(ctx context.Context, run engine.Run) error {
	if _, err := nodeadm.ReadTracker(p.Root); err != nil {
		// init would exit 0 without doing anything, or panic.
		return &engine.Permanent{Err: fmt.Errorf("cannot run nodeadm init after install: %w; provision again", err)}
	}
	run.Say("joining cluster " + p.spec.GetClusterName() + " with nodeadm")
	return p.nodeadm(ctx, run, nodeadm.Init, nodeadm.InitArgs(p.spec, p.configPath(), p.Manifest))
}

// record notes what is in force, and removes the NodeConfig: it may hold a
// secret and is rendered anew when needed.
func (p *job) record(ctx context.Context, run engine.Run) error {
	name, err := p.nodeName()
	if err != nil {
		return err
	}
	state := applied.State{
		NodeDigest:        p.op.GetNodeDigest(),
		KubernetesVersion: p.spec.GetKubernetesVersion(),
		NodeIP:            p.op.GetNodeIp(),
		NodeName:          name,
		OperationID:       p.op.GetId(),
		At:                p.Now(),
	}
	if err := applied.WriteState(p.Dir, state); err != nil {
		return err
	}
	return p.removeConfig(ctx, run)
}

func fileSHA256(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
