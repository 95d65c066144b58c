package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/osimage"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/change"
)

// Appliance is a host whose operating system is an image.
type Appliance struct {
	// Driver manages the image.
	Driver osimage.Driver
	// Reboot asks for a reboot and returns at once.
	Reboot func(ctx context.Context) error
}

// imageSteps are the steps of path os-image: those before the node is cordoned,
// and those that need it drained.
func (p *job) imageSteps() (before, after []engine.Step, err error) {
	if p.Appliance == nil {
		return nil, nil, fmt.Errorf("cannot %s with an operating system image: %w", p.verb(), osimage.ErrNoDriver)
	}
	steps := osimage.Steps(osimage.Options{
		Driver: p.Appliance.Driver, Reboot: p.Appliance.Reboot, Dir: p.Dir, Root: p.Root, Runner: p.Runner,
		OperationID: p.op.GetId(), Environment: p.environment(), FreeBytes: p.FreeBytes,
		Image: osimage.Ref{URI: p.spec.GetOsImage().GetUri(), Digest: p.op.GetOsImageDigest()},
	})
	return steps[:2], steps[2:], nil
}

// bootedImage is the image that the host has booted, by the name that node parts
// give it; empty: not an appliance, or nothing tells. A forecast runs no program:
// it would end one of an operation that is under way.
func (p *job) bootedImage(ctx context.Context) string {
	if p.Appliance == nil || p.op.GetId() == "" {
		return ""
	}
	tools := osimage.Tools{Runner: p.Runner, ID: p.op.GetId() + "-facts", OperationID: p.op.GetId(), Environment: p.environment()}
	image, err := osimage.Running(ctx, p.Appliance.Driver, tools, p.Dir)
	if err != nil {
		p.Log.Sugar().Warnw("cannot tell which image is booted", "op_id", p.op.GetId(), "error", err)
		return ""
	}
	if image.Digest == "" {
		// What an image calls itself compares with no node part.
		return ""
	}
	return image.Name
}

// imageBrings says whether kubelet came with the operating system's image.
func (p *job) imageBrings() bool {
	if p.spec.GetOsImage() == nil {
		return false
	}
	kubelet, err := os.Stat(filepath.Join(p.Root, nodeadm.KubeletPath))
	return err == nil && kubelet.Size() > 0
}

// trackImage writes nodeadm's tracker where an image brings kubelet and not the
// tracker, which lies below /opt: without one, init does nothing and says that it is
// done.
func (p *job) trackImage(run engine.Run) error {
	if err := p.removeBrokenTracker(); err != nil {
		return err
	}
	_, err := nodeadm.ReadTracker(p.Root)
	if !errors.Is(err, nodeadm.ErrNoTracker) {
		return err
	}
	p.tell(run, "writing nodeadm's tracker, which the image does not bring")
	return p.restoreTracker()
}

// takeOffImage is takeOff on an image that brings kubelet: what nodeadm uninstall and
// a leave remove came with it, and the next provision needs it.
func (p *job) takeOffImage(ctx context.Context, run engine.Run) error {
	p.tell(run, "kubelet is the image's and stays, but it is not started any more")
	if err := p.parted(ctx, run, "containers", func(run engine.Run) error { return p.endContainers(ctx, run) }); err != nil {
		return err
	}
	return removeAll(p.kubeconfig(), filepath.Join(p.Root, "etc/systemd/system/multi-user.target.wants", kubeletUnit))
}

// rebooted says whether the operation has had the host rebooted: kubelet's files
// then tell nothing of whether the node is what it was.
func (p *job) rebooted() bool {
	return p.decided.Path == change.OSImage && osimage.Asked(p.Dir, p.op.GetId())
}

// rejoin joins the node again on the image that the host came back to. nodeadm
// installs nothing there: the image carries what belongs to its version.
func (p *job) rejoin(ctx context.Context, run engine.Run) error {
	if err := p.mayReturn(); err != nil {
		return &engine.Permanent{Err: err}
	}
	p.awaitFormerNetwork(ctx, run)
	p.tell(run, "joining again with Kubernetes %s, which was in force", p.former.KubernetesVersion)
	if err := p.renderFor(p.former.Node, p.former.NodeIP); err != nil {
		return err
	}
	if err := p.dropInFor(run, p.former.Node); err != nil {
		return err
	}
	if err := p.initBack(ctx, run); err != nil {
		return fmt.Errorf("cannot join again with Kubernetes %s: %w", p.former.KubernetesVersion, err)
	}
	if err := p.becomes(ctx, run, target{p.decided.NodeName, p.former.KubernetesVersion, p.former.NodeIP}); err != nil {
		return err
	}
	return p.release()
}

// networkPatience is how long the way back waits after a boot for the daemon to
// bring the network up; then nodeadm is tried all the same.
const networkPatience = 2 * time.Minute

// awaitFormerNetwork waits a while for the node IP and the route of the former node
// part.
func (p *job) awaitFormerNetwork(ctx context.Context, run engine.Run) {
	ctx, cancel := context.WithTimeout(ctx, networkPatience)
	defer cancel()
	former := *p
	former.spec, former.nodeIP = p.former.Node, p.former.NodeIP
	if err := former.awaitNetwork(ctx, run); err != nil {
		p.tell(run, "going on although the network is not what it was: %v", err)
	}
}
