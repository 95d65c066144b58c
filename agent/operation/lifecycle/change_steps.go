package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/change"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// upgrade brings the node to the wanted version.
func (p *job) upgrade(ctx context.Context, run engine.Run) error {
	run.Say("upgrading to Kubernetes " + p.spec.GetKubernetesVersion() + " with nodeadm")
	if err := p.cure(ctx, run); err != nil {
		return err
	}
	err := p.upgradeNode(ctx, run, p.spec)
	var out *ranOut
	if errors.As(err, &out) {
		// nodeadm waits without end for a kubelet that cannot start: another try
		// would only keep the node away for longer.
		return &engine.Permanent{Err: err}
	}
	return err
}

// cure mends what an interrupted run may have left and upgrade does not get over:
// it fails for good on a missing kubelet, and panics on an empty tracker and on an
// empty kubelet configuration. A truncated kubelet it replaces itself.
func (p *job) cure(ctx context.Context, run engine.Run) error {
	host, err := nodeadm.ReadHost(p.Root)
	if err != nil {
		return err
	}
	if host.Tracker != nodeadm.TrackerOK || !host.Kubelet {
		p.tell(run, "an interrupted run left no kubelet or tracker: installing first")
		if err := p.parted(ctx, run, "install", func(run engine.Run) error { return p.installNode(ctx, run, p.spec) }); err != nil {
			return err
		}
	}
	if !host.KubeletConfigEmpty {
		return nil
	}
	p.tell(run, "an interrupted run left kubelet's configuration empty: nodeadm init first")
	return p.parted(ctx, run, "init", func(run engine.Run) error { return p.initNode(ctx, run, p.spec) })
}

// parted gives a run of nodeadm within a step a name of its own, and ends it with
// the step.
func (p *job) parted(ctx context.Context, run engine.Run, name string, do func(engine.Run) error) error {
	run.ID += "-" + name
	err := do(run)
	if ctx.Err() == nil {
		return err
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	return errors.Join(err, p.Runner.Stop(bound, run.ID))
}

// upgradeNode runs nodeadm upgrade with the NodeConfig that was rendered last.
// nodeadm's own look for pods counts those that no drain can move, and the static
// ones; ours was made before.
func (p *job) upgradeNode(ctx context.Context, run engine.Run, spec *agentv1.NodeSpec) error {
	err := p.nodeadm(ctx, run, invocation{nodeadm.Upgrade, spec, func(manifest string) ([]string, error) {
		return nodeadm.UpgradeArgs(spec, p.configPath(), manifest, max(p.UpgradeDeadline-15*time.Second, time.Second), p.skips()...), nil
	}})
	if err != nil {
		return err
	}
	return p.noteInstalled(spec)
}

// skips are the checks of nodeadm's own that upgrade and uninstall leave out.
func (p *job) skips() []string {
	switch {
	case p.decided.NoAPI:
		return []string{nodeadm.SkipPods, nodeadm.SkipNode}
	case p.decided.Drain:
		return []string{nodeadm.SkipPods}
	}
	return nil
}

// uninstall takes nodeadm's parts off the host. Nothing is left to do where there
// is no tracker: an earlier try was cut short after its end.
func (p *job) uninstall(ctx context.Context, run engine.Run) error {
	return p.uninstallSkipping(ctx, run, p.skips()...)
}

// uninstallSkipping leaves checks of nodeadm's own out.
func (p *job) uninstallSkipping(ctx context.Context, run engine.Run, skips ...string) error {
	if _, err := nodeadm.ReadTracker(p.Root); errors.Is(err, nodeadm.ErrNoTracker) {
		p.tell(run, "nodeadm has nothing to uninstall: there is no tracker")
		return nil
	}
	run.Say("uninstalling with nodeadm")
	return p.nodeadm(ctx, run, invocation{nodeadm.Uninstall, p.installedSpec(), func(string) ([]string, error) {
		// Not with --force: it removes the CNI's folders across mount points.
		return nodeadm.UninstallArgs(false, skips...), nil
	}})
}

// installedSpec is the node part that the host carries as far as known.
func (p *job) installedSpec() *agentv1.NodeSpec {
	if p.former.Node != nil {
		return p.former.Node
	}
	return p.spec
}

// mendTracker does to nodeadm's tracker what was decided: every command panics on
// a damaged one, and uninstall does nothing without one.
func (p *job) mendTracker(_ context.Context, run engine.Run) error {
	switch p.decided.Tracker {
	case change.TrackerRemove:
		p.tell(run, "removing nodeadm's damaged tracker")
		return p.removeBrokenTracker()
	case change.TrackerRestore:
		p.tell(run, "restoring nodeadm's lost tracker, without which uninstall does nothing")
		return p.restoreTracker()
	}
	return nil
}

// dropIn removes containerd's drop-in where the NodeConfig names none: nodeadm
// leaves it, and containerd goes on reading it.
func (p *job) dropIn(_ context.Context, run engine.Run) error {
	if p.op.GetKind() != agentv1.OperationKind_OPERATION_KIND_PROVISION && !p.decided.RemoveContainerdConfig {
		return nil
	}
	return p.dropInFor(run, p.spec)
}

func (p *job) dropInFor(run engine.Run, spec *agentv1.NodeSpec) error {
	if spec.GetContainerdConfig() != "" {
		return nil
	}
	err := os.Remove(filepath.Join(p.Root, nodeadm.ContainerdConfigPath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot remove containerd's former configuration: %w", err)
	}
	p.tell(run, "removed %s: the node part has no containerd configuration any more", nodeadm.ContainerdConfigPath)
	return nil
}

// stopKubeletStep stops kubelet where nodeadm could not go on with it.
func (p *job) stopKubeletStep() engine.Step {
	return engine.Step{Name: "stop-kubelet", What: "stop kubelet where nodeadm would stumble over it", Deadline: apiDeadline, Attempts: nodeadmAttempts,
		Check: func(context.Context) (bool, error) { return !p.decided.StopKubelet, nil }, Do: p.stopKubelet}
}

// stopKubelet stops kubelet and makes systemd read its unit files again: nodeadm
// leaves the unit of a kubelet that keeps crashing.
func (p *job) stopKubelet(ctx context.Context, _ engine.Run) error {
	if p.Units == nil {
		return nil
	}
	return errors.Join(p.Units.Stop(ctx, kubeletUnit), p.Units.Reload(ctx))
}
