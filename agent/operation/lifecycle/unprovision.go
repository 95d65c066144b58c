package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/nodelabels"
	"hybridagent/agent/store"
	"hybridagent/nodeadm"
)

// holdHost notes how the host looks before a provision. What a provision before it
// could not take back is no part of what the host was.
func (p *job) holdHost(ctx context.Context, run engine.Run) error {
	before, err := p.readHeld()
	if err == nil && before.Operation != p.op.GetId() && before.Returning && !p.known {
		before.Operation = p.op.GetId()
		return p.writeHeld(before)
	}
	return p.hold(ctx, run)
}

// letGo forgets how the host looked, unless that is still to be returned to.
func (p *job) letGo(context.Context, engine.Run) error {
	if before, err := p.readHeld(); err == nil && before.Returning {
		return nil
	}
	return p.release()
}

// unprovision makes the host what it was before a provision that failed or was
// aborted: without it a kubelet would go on running that nobody knows of, as the
// plane has no node to have leave. A host that was a node before stays one.
func (p *job) unprovision(ctx context.Context, run engine.Run) error {
	before, err := p.readHeld()
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		p.tell(run, "nodeadm's parts stay, as it is not known whether the host was in a cluster before (%v); have it leave to take them off (hybrid-agent operation leave)", err)
		return p.release()
	case p.known, err != nil, before.Operation != p.op.GetId():
		return p.release()
	case before.Files[nodeadm.KubeconfigPath] != "":
		p.tell(run, "the host was in a cluster before this provision, and stays as it is; have it leave to take nodeadm's parts off (hybrid-agent operation leave)")
		return p.release()
	}
	if !before.Returning {
		before.Returning = true
		if err := p.writeHeld(before); err != nil {
			return err
		}
	}
	if err := p.takeOff(ctx, run); err != nil {
		return &nextActionError{fmt.Errorf("cannot take nodeadm's parts off the host again: %w", passing{err}),
			"correct that, then provision the host again, or have it leave (sudo hybrid-agent operation leave --force on the host)"}
	}
	if err := errors.Join(p.partFromFstab(run), nodelabels.Forget(p.Dir), applied.Forget(p.Dir)); err != nil {
		return err
	}
	p.tell(run, "nodeadm's parts are off the host again")
	return p.release()
}

// takeOff is a leave that moves no pods: the node was never handed over.
func (p *job) takeOff(ctx context.Context, run engine.Run) error {
	host, err := nodeadm.ReadHost(p.Root)
	if err != nil {
		return err
	}
	if host.Kubeconfig {
		p.tell(run, "a node may not delete its own Node; if there is one already: kubectl delete node %s", p.nameIfKnown())
	}
	if host.Kubeconfig && host.Provider == nodeadm.ProviderSSM {
		p.tell(run, "nodeadm uninstall deregisters %s from Systems Manager: the next provision takes another registration of the activation", p.nameIfKnown())
	}
	// A kubelet that runs would have nodeadm look for its pods.
	if err := p.stopKubelet(ctx, run); err != nil {
		return err
	}
	if p.imageBrings() {
		return p.takeOffImage(ctx, run)
	}
	if host.Tracker != nodeadm.TrackerOK {
		if err := p.restoreTracker(); err != nil {
			return err
		}
	}
	if err := p.keepAWS(ctx, run); err != nil {
		return err
	}
	err = p.parted(ctx, run, "uninstall", func(run engine.Run) error {
		return p.uninstallSkipping(ctx, run, nodeadm.SkipPods, nodeadm.SkipNode)
	})
	switch {
	case err == nil:
	case host.Tracker == nodeadm.TrackerOK || host.Kubeconfig || ctx.Err() != nil:
		return err
	default:
		// An install that was cut short: nothing of it ever ran.
		p.tell(run, "nodeadm cannot uninstall what its install had not ended: %v", err)
	}
	if err := p.parted(ctx, run, "containers", func(run engine.Run) error { return p.endContainers(ctx, run) }); err != nil {
		return err
	}
	return p.clean(ctx, run)
}

// nameIfKnown is the Node's name for messages.
func (p *job) nameIfKnown() string {
	name, err := p.nodeName(p.spec)
	if err != nil {
		return "NAME"
	}
	return name
}

// restoreTracker writes the tracker of the node part that is installed: uninstall
// does nothing without one, and panics on a damaged one.
func (p *job) restoreTracker() error {
	content, err := nodeadm.RestoredTracker(p.installedSpec())
	if err != nil {
		return &engine.Permanent{Err: err}
	}
	path := filepath.Join(p.Root, nodeadm.TrackerPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot restore nodeadm's tracker: %w", err)
	}
	return store.WriteRaw(path, content, 0o644)
}

// providerNow is the credential provider that nodeadm's files are of: the record
// may be lost, or not be there yet.
func (p *job) providerNow() string {
	if tracker, err := nodeadm.ReadTracker(p.Root); err == nil && tracker.Provider() != "" {
		return tracker.Provider()
	}
	return p.former.Provider
}
