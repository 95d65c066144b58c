package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/change"
)

// wayBack brings the node back to what was in force, from wherever the operation
// came to: the former version and configuration, Ready. It goes the gentle way
// first, and where that fails the thorough one; both wait for a network that is away.
func (p *job) wayBack(ctx context.Context, run engine.Run) error {
	same, err := p.untouched(ctx)
	if err != nil {
		return err
	}
	if p.rebooted() {
		return p.connected(ctx, run, p.RollbackDeadline, func(ctx context.Context) error { return p.rejoin(ctx, run) })
	}
	if same {
		return p.release()
	}
	if err := p.mayReturn(); err != nil {
		return &engine.Permanent{Err: err}
	}
	if before, err := p.readHeld(); err == nil && !before.Returning {
		before.Returning = true
		if err := p.writeHeld(before); err != nil {
			return err
		}
	}
	p.tell(run, "returning to Kubernetes %s, which was in force", p.former.KubernetesVersion)
	err = p.connected(ctx, run, p.shortWay(), func(ctx context.Context) error { return p.bringBack(ctx, run, false) })
	if err != nil && ctx.Err() == nil {
		p.tell(run, "the short way back failed: %v", err)
		err = p.connected(ctx, run, p.RollbackDeadline, func(ctx context.Context) error { return p.bringBack(ctx, run, true) })
	}
	if err != nil {
		return fmt.Errorf("cannot return to Kubernetes %s: %w", p.former.KubernetesVersion, passing{err})
	}
	return p.release()
}

// passing is an error without what is in it: what is final for a way there, for
// example that AWS denies something, is no reason not to try the way back again.
// A node that stays half-changed is worse than a wait.
type passing struct{ error }

// mayReturn says why there is no way back.
func (p *job) mayReturn() error {
	switch {
	case p.former.Node == nil:
		return &nextActionError{errors.New("cannot return to what was in force: the record does not tell it"), "repave the host from the plane (hybridctl repave)"}
	case p.decided.Path == change.Reinstall && p.former.Node.GetAccess().GetSsm() != nil:
		if name, err := nodeadm.ReadNodeName(p.Root); err != nil || name != p.decided.NodeName {
			return &nextActionError{errors.New("cannot return to Systems Manager: nodeadm uninstall has deregistered the host, and an activation code is used once"),
				"create a new SSM hybrid activation, set it in the HybridCluster and provision the host (hybridctl provision)"}
		}
	}
	return nil
}

// bringBack runs nodeadm with the former node part. thorough installs everything
// anew, which cures whatever an interrupted run may have left.
func (p *job) bringBack(ctx context.Context, run engine.Run, thorough bool) error {
	host, err := nodeadm.ReadHost(p.Root)
	if err != nil {
		return err
	}
	if err := p.renderFor(p.former.Node, p.former.NodeIP); err != nil {
		return err
	}
	if err := p.dropInFor(run, p.former.Node); err != nil {
		return err
	}
	if err := p.nodeadmBack(ctx, run, host, thorough); err != nil {
		return err
	}
	if p.decided.NoAPI && p.formerReach(ctx) != nil {
		return p.kubeletBack(ctx, run)
	}
	return p.becomes(ctx, run, target{p.decided.NodeName, p.former.KubernetesVersion, p.former.NodeIP})
}

// kubeletBack waits until kubelet runs steadily: more cannot be seen of a node whose
// API was away when the operation began.
func (p *job) kubeletBack(ctx context.Context, run engine.Run) error {
	var kubelet pulse
	return waitEvery(ctx, p.PollInterval, run, func() error {
		if reason := p.unsteady(ctx, &kubelet); reason != "" {
			return &awaited{errors.New(reason)}
		}
		p.tell(run, "kubelet runs; the Kubernetes API, which was away before, does not answer yet")
		return nil
	})
}

// nodeadmBack chooses among nodeadm's commands by what is left of the node.
func (p *job) nodeadmBack(ctx context.Context, run engine.Run, host nodeadm.Host, thorough bool) error {
	if p.decided.Path == change.Reinstall {
		if err := p.removeForeignPKI(run); err != nil {
			return err
		}
	}
	foreign := host.Tracker == nodeadm.TrackerOK && host.Provider != p.former.Provider && p.former.Provider != ""
	whole := host.Tracker == nodeadm.TrackerOK && host.Kubelet && !host.KubeletConfigEmpty && host.Kubeconfig && !foreign
	switch {
	case whole && !thorough && p.kubeletIsFormer():
		return p.initBack(ctx, run)
	case whole && !thorough:
		return p.upgradeBack(ctx, run)
	}
	if foreign {
		if err := p.parted(ctx, run, "uninstall", func(run engine.Run) error { return p.uninstall(ctx, run) }); err != nil {
			return err
		}
	}
	// A kubelet that keeps crashing holds its unit, and nodeadm waits for it.
	if err := p.stopKubelet(ctx, run); err != nil {
		return err
	}
	if err := p.parted(ctx, run, "install", func(run engine.Run) error { return p.installNode(ctx, run, p.former.Node) }); err != nil {
		return err
	}
	return p.initBack(ctx, run)
}

func (p *job) initBack(ctx context.Context, run engine.Run) error {
	return p.parted(ctx, run, "init", func(run engine.Run) error { return p.initNode(ctx, run, p.former.Node) })
}

// upgradeBack is nodeadm upgrade to the former version, which insists on a cordoned
// node: an operation that was ended after its uncordon has lost that.
func (p *job) upgradeBack(ctx context.Context, run engine.Run) error {
	if p.decided.Drain && !p.decided.NoAPI {
		if err := p.cordon(ctx, run); err != nil {
			return err
		}
	}
	return p.parted(ctx, run, "upgrade", func(run engine.Run) error { return p.upgradeNode(ctx, run, p.former.Node) })
}

// kubeletIsFormer says whether the kubelet binary is the one of before.
func (p *job) kubeletIsFormer() bool {
	before, err := p.readHeld()
	if err != nil {
		return false
	}
	now, err := p.fingerprint()
	return err == nil && now[nodeadm.KubeletPath] != "" && now[nodeadm.KubeletPath] == before.Files[nodeadm.KubeletPath]
}
