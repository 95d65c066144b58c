package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm"
)

// leftoverTrees are folders that nodeadm uninstall leaves, and those that it only
// leaves when it is cut short. /var/lib/cni and /etc/cni/net.d are here because
// uninstall --force removes them across mount points.
func leftoverTrees() []string {
	return []string{
		"/etc/aws/hybrid", "/var/lib/kubelet", "/var/lib/cni", "/etc/cni/net.d", "/eks-hybrid",
		"/etc/eks", "/etc/kubernetes", "/opt/nodeadm",
	}
}

// leftoverFiles are single files of nodeadm's that uninstall leaves.
func leftoverFiles() []string {
	return []string{
		"/etc/sysctl.d/99-nodeadm.conf", "/etc/modules-load.d/containerd.conf", nodeadm.ContainerdConfigPath,
		"/etc/systemd/system/kubelet.service", "/etc/systemd/system/aws_signing_helper_update.service",
	}
}

// Links that uninstall leaves dangling.
func leftoverLinks() []string {
	return []string{
		"/etc/systemd/system/multi-user.target.wants/kubelet.service",
		"/etc/systemd/system/multi-user.target.wants/aws_signing_helper_update.service",
	}
}

// clean removes what uninstall forgets, so that the host can join another cluster.
// Nothing below a mount point is touched, and no symbolic link is followed.
func (p *job) clean(ctx context.Context, run engine.Run) error {
	// uninstall keeps the unit of a kubelet that keeps crashing.
	if err := p.stopKubelet(ctx, run); err != nil {
		return err
	}
	if err := p.removeTrees(run, leftoverTrees()...); err != nil {
		return err
	}
	for _, path := range leftoverFiles() {
		if err := p.removeFile(path); err != nil {
			return err
		}
	}
	for _, path := range leftoverLinks() {
		if _, err := os.Stat(filepath.Join(p.Root, path)); err == nil {
			continue // it leads somewhere: not dangling, not nodeadm's
		}
		if err := p.removeFile(path); err != nil {
			return err
		}
	}
	// Only where nothing else is in it.
	_ = os.Remove(filepath.Join(p.Root, "/etc/aws"))
	if p.Units != nil {
		return p.Units.Reload(ctx)
	}
	return nil
}

func (p *job) removeFile(path string) error {
	err := os.Remove(filepath.Join(p.Root, path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %s, which nodeadm left: %w", path, err)
	}
	return nil
}

// removeTrees removes folders but for what is mounted in them, and says what it
// left.
func (p *job) removeTrees(run engine.Run, trees ...string) error {
	mounts, err := p.Mounts()
	if err != nil {
		return err
	}
	for _, tree := range trees {
		left, err := removeTree(filepath.Join(p.Root, tree), mounts)
		if err != nil {
			return fmt.Errorf("cannot remove %s, which nodeadm left: %w", tree, err)
		}
		for _, path := range left {
			p.tell(run, "left as it is: %s is mounted", path)
		}
	}
	return nil
}
