package lifecycle

import (
	"context"
	"fmt"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm/change"
)

// target is what a Node is to be.
type target struct{ name, version, ip string }

// ready waits until the Node is what the operation wants it to be.
func (p *job) ready(ctx context.Context, run engine.Run) error {
	name, err := p.nodeName(p.spec)
	if err != nil {
		return err
	}
	if err := p.sameInstance(name); err != nil {
		return err
	}
	return p.becomes(ctx, run, target{name, p.spec.GetKubernetesVersion(), p.nodeIP})
}

// sameInstance checks that an upgrade kept the SSM instance: a new registration
// would be a new Node, and the old one would stay behind with its pods.
func (p *job) sameInstance(name string) error {
	kept := p.decided.Path == change.Upgrade || p.decided.Path == change.Init
	if kept && p.spec.GetAccess().GetSsm() != nil && p.decided.NodeName != "" && name != p.decided.NodeName {
		return &engine.Permanent{Err: fmt.Errorf("cannot go on as node %s: it was %s before, so nodeadm registered a second SSM instance", name, p.decided.NodeName)}
	}
	return nil
}

// becomes waits until the Kubernetes API has called the Node Ready for a while,
// with the address and version that were wanted: nodeadm's exit code 0 says
// nothing about that.
func (p *job) becomes(ctx context.Context, run engine.Run, want target) error {
	run.Say("waiting for node " + want.name + " to be Ready")
	ticker := time.NewTicker(p.PollInterval)
	defer ticker.Stop()
	var since time.Time
	var kubelet pulse
	last := "it was not asked yet"
	for {
		reason := p.notReady(ctx, want, &kubelet)
		switch {
		case kubelet.deaths >= maxDeaths:
			return &engine.Permanent{Err: fmt.Errorf("node %s did not become Ready: kubelet has ended %d times in a row; look at its log on the host (journalctl -u kubelet)", want.name, kubelet.deaths)}
		case reason != "":
			since = time.Time{}
			if ctx.Err() == nil && reason != last {
				last = reason
				run.Say("waiting for node " + want.name + " to be Ready: " + reason)
			}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= p.StableFor:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s did not become Ready: %s; look at kubelet's log on the host (journalctl -u kubelet): %w", want.name, last, ctx.Err())
		case <-ticker.C:
		}
	}
}

// notReady says why the Node is not as wanted; empty when it is.
func (p *job) notReady(ctx context.Context, want target, kubelet *pulse) string {
	if reason := p.unsteady(ctx, kubelet); reason != "" {
		return reason
	}
	node, err := p.Node(ctx, p.kubeconfig(), want.name)
	switch {
	case err != nil:
		return err.Error()
	case node.InternalIP != want.ip:
		return fmt.Sprintf("its internal IP is %q, not %s: kubelet does not use the selected NIC", node.InternalIP, want.ip)
	case !sameVersion(want.version, node.KubeletVersion):
		return fmt.Sprintf("its kubelet has version %q, not %s", node.KubeletVersion, "v"+want.version)
	case !node.Ready:
		return fmt.Sprintf("the API says %s: %s", node.Reason, node.Message)
	}
	return ""
}

// unsteady says that kubelet does not run, or has not for long: one that dies 6 s
// after its start leaves nodeadm with exit code 0 and the API with a Ready Node.
func (p *job) unsteady(ctx context.Context, kubelet *pulse) string {
	if p.Units == nil {
		return ""
	}
	active, since, err := p.Units.Running(ctx, kubeletUnit)
	if err == nil {
		kubelet.beat(active, since)
	}
	switch {
	case err != nil:
		return "cannot ask systemd for kubelet: " + err.Error()
	case !active:
		return "kubelet does not run"
	case since < p.SteadyFor:
		return "kubelet was started a moment ago"
	}
	return ""
}

// maxDeaths is how often kubelet may end while it is waited for. systemd starts it
// anew each five seconds (nodeadm's kubelet.service); what only came late, such as
// containerd, is there after two or three.
const maxDeaths = 8

// pulse counts how often a unit has ended between two looks.
type pulse struct {
	alive  bool
	since  time.Duration
	deaths int
}

// beat takes a look at the unit: whether it runs, and for how long.
func (u *pulse) beat(active bool, since time.Duration) {
	if u.alive && (!active || since < u.since) {
		u.deaths++
	}
	u.alive, u.since = active, since
}
