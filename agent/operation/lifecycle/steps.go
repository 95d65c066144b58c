package lifecycle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// installCall installs a node part. nodeadm's own timeout ends a little before
// ours: its message is the better one.
func (p *job) installCall(spec *agentv1.NodeSpec) invocation {
	return invocation{nodeadm.Install, spec, func(manifest string) ([]string, error) {
		return nodeadm.InstallArgs(spec, manifest, max(p.InstallDeadline-15*time.Second, time.Second))
	}}
}

// installKey is what tells one install from another, wherever its artifacts came
// from.
func (p *job) installKey() ([]string, error) { return p.installCall(p.spec).args(p.Manifest) }

// installed reports whether the same install was done before and its kubelet is
// still in place.
func (p *job) installed(context.Context) (bool, error) {
	args, err := p.installKey()
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
	run.Say("installing Kubernetes " + p.spec.GetKubernetesVersion() + " with nodeadm")
	return p.installNode(ctx, run, p.spec)
}

// installNode installs a node part and notes it.
func (p *job) installNode(ctx context.Context, run engine.Run, spec *agentv1.NodeSpec) error {
	if err := p.removeBrokenTracker(); err != nil {
		return err
	}
	if err := p.nodeadm(ctx, run, p.installCall(spec)); err != nil {
		return err
	}
	return p.noteInstalled(spec)
}

// noteInstalled remembers which binaries lie on the host.
func (p *job) noteInstalled(spec *agentv1.NodeSpec) error {
	args, err := p.installCall(spec).args(p.Manifest)
	if err != nil {
		return err
	}
	sum, err := fileSHA256(filepath.Join(p.Root, nodeadm.KubeletPath))
	if err != nil {
		return fmt.Errorf("nodeadm exited 0 but left no kubelet: %w", err)
	}
	return applied.WriteInstalled(p.Dir, applied.Installed{
		KubernetesVersion: spec.GetKubernetesVersion(), Arguments: args, KubeletSHA256: sum,
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

// render writes the NodeConfig; not again after a crash behind the last step, which
// has removed it for good.
func (p *job) render(context.Context, engine.Run) error {
	if p.recorded() {
		return nil
	}
	return p.renderFor(p.spec, p.nodeIP)
}

// renderFor writes the NodeConfig of a node part.
func (p *job) renderFor(spec *agentv1.NodeSpec, nodeIP string) error {
	ip, err := netip.ParseAddr(nodeIP)
	if err != nil {
		return &engine.Permanent{Err: fmt.Errorf("cannot use node IP %q: %w", nodeIP, err)}
	}
	config, err := nodeadm.Render(usable(spec), ip)
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
	return RemoveLeftConfig(p.Dir)
}

// RemoveLeftConfig removes the NodeConfig, which may hold a secret, durably. At the
// start it is for when no operation is pending: then a power cut has brought back
// what was removed.
func RemoveLeftConfig(dir string) error {
	if err := removeAll(configPath(dir)); err != nil {
		return fmt.Errorf("cannot remove the NodeConfig: %w", err)
	}
	return nil
}

func (p *job) configCheck(ctx context.Context, run engine.Run) error {
	run.Say("checking the NodeConfig with nodeadm")
	return p.nodeadm(ctx, run, invocation{nodeadm.ConfigCheck, p.spec, func(string) ([]string, error) {
		return nodeadm.ConfigCheckArgs(p.configPath()), nil
	}})
}

func (p *job) init(ctx context.Context, run engine.Run) error {
	run.Say("joining cluster " + p.spec.GetClusterName() + " with nodeadm")
	return p.initNode(ctx, run, p.spec)
}

// initNode runs nodeadm init with the NodeConfig that was rendered last.
func (p *job) initNode(ctx context.Context, run engine.Run, spec *agentv1.NodeSpec) error {
	if _, err := nodeadm.ReadTracker(p.Root); err != nil {
		// init would exit 0 without doing anything, or panic.
		return &engine.Permanent{Err: fmt.Errorf("cannot run nodeadm init after install: %w; %s again", err, p.verb())}
	}
	err := p.nodeadm(ctx, run, invocation{nodeadm.Init, spec, func(manifest string) ([]string, error) {
		return nodeadm.InitArgs(spec, p.configPath(), manifest), nil
	}})
	return errors.Join(err, p.showFstab(run))
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
