// Package lifecycle holds the operations on a node: provision, which turns a host
// into one (checks, artifacts, nodeadm install, config check, init, and the proof that
// the Node is Ready), repave, reconfigure and leave. It says what the steps are;
// package engine runs them.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/change"
)

// joins says whether a provision is to make a node of a host without pods: there is
// nothing to move away, and no node to return to. On a host that is a node a
// provision goes a repave's way: nodeadm install swaps binaries under a running
// kubelet without asking for its pods.
func (p *job) joins() bool {
	return (p.decided.Path == change.Install || p.decided.Path == change.OSImage) && !p.decided.Drain
}

// unfinished says whether a provision before could not be taken back.
func (p *job) unfinished() bool {
	before, err := p.readHeld()
	return err == nil && before.Returning && !p.known
}

// provisionSteps turn a host into a node; one whose operating system is an image
// boots it first.
func (p *job) provisionSteps() ([]engine.Step, error) {
	steps := []engine.Step{
		{Name: "preflight", What: "check the host and what it is to become", Always: true, Do: p.preflight},
		{Name: "vpc-route", What: "wait for the route to the VPC", Always: true, Do: p.route},
	}
	if p.decided.Path == change.OSImage {
		before, boot, err := p.imageSteps()
		if err != nil {
			return nil, err
		}
		steps = append(append(steps, before...), boot...)
	}
	return append(append(steps, []engine.Step{
		{Name: "stage", What: "fetch and verify what nodeadm needs", Expected: time.Minute, Attempts: nodeadmAttempts, Do: p.stage},
		{Name: "fstab", What: "back up /etc/fstab, from which nodeadm drops swap", Do: p.backUpFstab},
		{Name: "hold-former", What: "note how the host looks, to return to it", Do: p.holdHost, Undo: p.letGo},
		{Name: "nodeadm-install", What: "install kubelet and its tools", Expected: time.Minute, Deadline: p.InstallDeadline, Attempts: nodeadmAttempts, Check: p.installed, Do: p.installHere,
			Undo: p.unprovision, UndoDeadline: p.RollbackDeadline, UndoAttempts: wayBackAttempts},
		{Name: "render-config", What: "write the NodeConfig", Always: true, Do: p.render, Undo: p.removeConfig},
		{Name: "nodeadm-config-check", What: "have nodeadm check it", Expected: time.Second, Deadline: checkDeadline, Do: p.configCheck},
		{Name: "containerd-drop-in", What: "remove containerd configuration that is not wanted", Do: p.dropIn},
		{Name: "nodeadm-init", What: "join the cluster", Expected: 10 * time.Second, Deadline: p.InitDeadline, Attempts: nodeadmAttempts, Do: p.init},
		{Name: "node-ready", What: "wait until the Node is Ready", Expected: 30 * time.Second, Deadline: p.ReadyDeadline, Do: p.ready},
	}...), p.recordSteps()...), nil
}

// installHere installs what the host lacks: an image brings kubelet and its tools, on
// a disk that nodeadm could not write to.
func (p *job) installHere(ctx context.Context, run engine.Run) error {
	if !p.imageBrings() {
		return p.install(ctx, run)
	}
	p.tell(run, "the operating system's image brings kubelet: there is nothing to install")
	return p.trackImage(run)
}

// checkLeftovers refuses a host on which nodeadm would go on with what belongs to
// another credential provider.
func (p *job) checkLeftovers() error {
	tracker, err := nodeadm.ReadTracker(p.Root)
	var broken *nodeadm.BrokenTrackerError
	if errors.Is(err, nodeadm.ErrNoTracker) || errors.As(err, &broken) {
		return nil
	}
	if err != nil {
		return err
	}
	have, want := tracker.Provider(), nodeadm.Provider(p.spec)
	if have != "" && want != "" && have != want {
		return fmt.Errorf("cannot provision with credential provider %s: nodeadm installed this host for %s, and uninstall must come first; have the host leave (hybrid-agent operation leave)", want, have)
	}
	return nil
}
