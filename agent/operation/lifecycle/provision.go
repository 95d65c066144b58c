// Package lifecycle holds the operations on a node: provision, which turns a host
// into one (checks, nodeadm install, config check, init, and the proof that the
// Node is Ready), repave, reconfigure and leave. It says what the steps are;
// package engine runs them.
package lifecycle

import (
	"errors"
	"fmt"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm"
)

// provisionSteps turn a host into a node.
func (p *job) provisionSteps() []engine.Step {
	return append([]engine.Step{
		{Name: "preflight", What: "check the host and what it is to become", Percent: 2, Always: true, Do: p.preflight},
		{Name: "vpc-route", What: "wait for the route to the VPC", Percent: 3, Always: true, Do: p.route},
		{Name: "fstab", What: "back up /etc/fstab, from which nodeadm drops swap", Percent: 4, Do: p.backUpFstab},
		{Name: "hold-former", What: "note how the host looks, to return to it", Percent: 5, Do: p.holdHost, Undo: p.letGo},
		{Name: "nodeadm-install", What: "install kubelet and its tools", Percent: 40, Expected: time.Minute, Deadline: p.InstallDeadline, Attempts: nodeadmAttempts, Check: p.installed, Do: p.install,
			Undo: p.unprovision, UndoDeadline: p.RollbackDeadline, UndoAttempts: wayBackAttempts},
		{Name: "render-config", What: "write the NodeConfig", Percent: 42, Always: true, Do: p.render, Undo: p.removeConfig},
		{Name: "nodeadm-config-check", What: "have nodeadm check it", Percent: 45, Deadline: checkDeadline, Do: p.configCheck},
		{Name: "containerd-drop-in", What: "remove containerd configuration that is not wanted", Percent: 46, Do: p.dropIn},
		{Name: "nodeadm-init", What: "join the cluster", Percent: 80, Expected: 10 * time.Second, Deadline: p.InitDeadline, Attempts: nodeadmAttempts, Do: p.init},
		{Name: "node-ready", What: "wait until the Node is Ready", Percent: 97, Expected: 30 * time.Second, Deadline: p.ReadyDeadline, Do: p.ready},
	}, p.recordSteps()...)
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
