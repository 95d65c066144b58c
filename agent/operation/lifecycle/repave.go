package lifecycle

import (
	"fmt"
	"time"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm/change"
)

// repaveSteps bring a node from what is in force to what is wanted, by the path
// that was chosen. Everything that may be refused or fetched comes before the
// node is cordoned, and everything that cannot be had back after hold-former.
func (p *job) repaveSteps() ([]engine.Step, error) {
	nothing := engine.Step{Name: "compare", What: "compare what is in force with what is wanted", Do: p.sayWhy}
	if p.decided.Path == change.None {
		return append([]engine.Step{nothing}, p.recordSteps()...), nil
	}
	work, err := p.workSteps()
	if err != nil {
		return nil, err
	}
	var imageBefore []engine.Step
	if p.decided.Path == change.OSImage {
		var boot []engine.Step
		if imageBefore, boot, err = p.imageSteps(); err != nil {
			return nil, err
		}
		work = append(boot, work...)
	}
	steps := []engine.Step{
		{Name: "preflight", What: "check the host, the node and what it is to become", Do: p.preflightNode},
		{Name: "vpc-route", What: "wait for the node IP and the route to the VPC", Always: true, Do: p.awaitNetwork},
	}
	steps = append(steps, imageBefore...)
	if p.decided.Path != change.Init && p.decided.Path != change.OSImage {
		steps = append(steps, engine.Step{Name: "stage", What: "fetch and verify what nodeadm needs, for the way there and back", Expected: time.Minute, Attempts: nodeadmAttempts, Do: p.stage})
	}
	steps = append(steps,
		engine.Step{Name: "render-config", What: "write the NodeConfig", Always: true, Do: p.render, Undo: p.removeConfig},
		engine.Step{Name: "nodeadm-config-check", What: "have nodeadm check it", Expected: time.Second, Deadline: checkDeadline, Do: p.configCheck},
		engine.Step{Name: "fstab", What: "back up /etc/fstab, from which nodeadm drops swap", Do: p.backUpFstab},
	)
	steps = append(steps, p.drainSteps()...)
	steps = append(steps, engine.Step{
		Name: "hold-former", What: "note what is in force, to return to it", Do: p.hold,
		Undo: p.wayBack, UndoDeadline: p.OutageDeadline + 2*p.RollbackDeadline, UndoAttempts: wayBackAttempts,
	})
	steps = append(steps, work...)
	steps = append(steps, engine.Step{Name: "node-ready", What: "wait until the Node is Ready", Expected: 20 * time.Second, Deadline: min(p.ReadyDeadline, againDeadline), Do: p.ready})
	if p.decided.Drain {
		steps = append(steps, engine.Step{Name: "uncordon", What: "let pods be scheduled on the node", Expected: time.Second, Deadline: apiDeadline, Attempts: 5, Do: p.uncordon,
			Undo: p.undoUncordon, UndoDeadline: p.RollbackDeadline})
	}
	return append(steps, p.recordSteps()...), nil
}

// workSteps are what nodeadm does.
func (p *job) workSteps() ([]engine.Step, error) {
	dropIn := engine.Step{Name: "containerd-drop-in", What: "remove containerd configuration that is not wanted any more", Do: p.dropIn}
	tracker := engine.Step{Name: "tracker", What: "make nodeadm's tracker usable", Do: p.mendTracker}
	install := engine.Step{Name: "nodeadm-install", What: "install kubelet and its tools", Expected: time.Minute, Deadline: p.InstallDeadline, Attempts: nodeadmAttempts, Together: p.InstallDeadline, Check: p.installed, Do: p.install}
	init := engine.Step{Name: "nodeadm-init", What: "configure and start kubelet and containerd", Expected: 10 * time.Second, Deadline: p.InitDeadline, Attempts: nodeadmAttempts, Together: p.UpgradeDeadline, Do: p.init}
	switch p.decided.Path {
	case change.Init, change.OSImage:
		return []engine.Step{dropIn, init}, nil
	case change.Upgrade:
		return []engine.Step{dropIn,
			{Name: "nodeadm-upgrade", What: "bring kubelet and its tools to Kubernetes " + p.spec.GetKubernetesVersion(), Expected: 30 * time.Second, Deadline: p.UpgradeDeadline, Attempts: nodeadmAttempts, Together: p.UpgradeDeadline, Do: p.upgrade}}, nil
	case change.Install:
		return []engine.Step{tracker, dropIn, install, init}, nil
	case change.Reinstall:
		return []engine.Step{tracker, p.stopKubeletStep(), {Name: "nodeadm-uninstall", What: "take the former node's parts away", Expected: 10 * time.Second, Deadline: uninstallDeadline, Attempts: nodeadmAttempts, Together: uninstallDeadline, Do: p.uninstall},
			{Name: "former-identity", What: "remove what belongs to the former node name", Do: p.removeIdentity}, dropIn, install, init}, nil
	}
	return nil, fmt.Errorf("cannot repave by path %s: this version does not know it; upgrade the agent", p.decided.Path)
}
