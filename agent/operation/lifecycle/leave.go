package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/nodelabels"
	"hybridagent/agent/store"
	"hybridagent/nodeadm"
)

// leaveSteps make the host a host again. Until the step leaving, nothing is lost;
// after it each step can be repeated, so that a leave that failed is submitted
// once more.
func (p *job) leaveSteps() []engine.Step {
	steps := []engine.Step{{Name: "preflight", What: "check that the node can be drained", Do: p.preflightLeave}}
	steps = append(steps, p.drainSteps()...)
	return append(steps,
		engine.Step{Name: "leaving", What: "go past the point of return", Final: true, Check: p.passed, Do: p.passPoint},
		engine.Step{Name: "tracker", What: "make nodeadm's tracker usable", Do: p.mendTracker},
		p.stopKubeletStep(),
		engine.Step{Name: "keep-aws", What: "copy /root/.aws, which nodeadm removes with Systems Manager", Do: p.keepAWS},
		engine.Step{Name: "nodeadm-uninstall", What: "take nodeadm's parts off the host", Expected: 10 * time.Second, Deadline: uninstallDeadline, Attempts: nodeadmAttempts, Do: p.uninstall},
		engine.Step{Name: "containers", What: "end the containers that still run", Expected: time.Second, Deadline: 2 * time.Minute, Attempts: nodeadmAttempts, Do: p.endContainers},
		engine.Step{Name: "clean", What: "remove what nodeadm forgets, but nothing that is mounted", Expected: time.Second, Attempts: nodeadmAttempts, Do: p.clean},
		engine.Step{Name: "forget", What: "forget the node's key, certificate and record", Do: p.forget},
	)
}

// leavingFile holds the ID of the leave that is past its point of return.
const leavingFile = "leaving"

func (p *job) passPoint(context.Context, engine.Run) error {
	return store.WriteRaw(filepath.Join(p.Dir, leavingFile), []byte(p.op.GetId()), 0o600)
}

// passed is leaving, as a check.
func (p *job) passed(context.Context) (bool, error) { return p.leaving(), nil }

// leaving says whether this operation is past its point of return.
func (p *job) leaving() bool {
	content, err := os.ReadFile(filepath.Join(p.Dir, leavingFile))
	return err == nil && string(content) == p.op.GetId()
}

// preflightLeave says what will be left behind, and refuses a node that cannot be
// drained.
func (p *job) preflightLeave(ctx context.Context, run engine.Run) error {
	if name := p.decided.NodeName; name != "" {
		p.tell(run, "a node may not delete its own Node: kubectl delete node %s", name)
	}
	if p.decided.NoAPI {
		p.tell(run, "the Kubernetes API does not answer: pods are not moved away, and the Node stays")
	}
	if p.providerNow() == nodeadm.ProviderSSM {
		p.tell(run, "nodeadm uninstall deregisters %s from Systems Manager", p.decided.NodeName)
	}
	return p.awaitDrain(ctx, run)
}

// rootAWS is where the SSM agent keeps the credentials of the node; nodeadm
// uninstall removes the folder with whatever else lies there.
const rootAWS = "/root/.aws"

// keepAWS copies an operator's own files beside the folder.
func (p *job) keepAWS(_ context.Context, run engine.Run) error {
	from := filepath.Join(p.Root, rootAWS)
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) || p.providerNow() != nodeadm.ProviderSSM {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot copy %s: %w", rootAWS, err)
	}
	to := from + ".before-leave"
	copied := false
	for _, entry := range entries {
		// The credentials are the agent's own, and end with the registration.
		if !entry.Type().IsRegular() || entry.Name() == "credentials" {
			continue
		}
		if err := os.MkdirAll(to, 0o700); err != nil {
			return fmt.Errorf("cannot copy %s: %w", rootAWS, err)
		}
		if err := copyFile(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
		copied = true
	}
	if copied {
		p.tell(run, "nodeadm removes %s; what is not the SSM agent's was copied to %s.before-leave", rootAWS, rootAWS)
	}
	return nil
}

// containersScript ends what containerd still runs for pods. It takes no input.
const containersScript = `command -v ctr >/dev/null 2>&1 || { echo "ctr is not installed: containers of former pods run until the next boot"; exit 0; }
ctr -n k8s.io version >/dev/null 2>&1 || { echo "containerd does not answer: there is nothing to end"; exit 0; }
for id in $(ctr -n k8s.io tasks ls -q); do ctr -n k8s.io tasks kill -s SIGKILL -a "$id" || true; done
for id in $(ctr -n k8s.io tasks ls -q); do ctr -n k8s.io tasks rm -f "$id" || true; done
for id in $(ctr -n k8s.io containers ls -q); do ctr -n k8s.io containers rm "$id" && echo "removed container $id"; done
test -z "$(ctr -n k8s.io tasks ls -q)"
`

// endContainers ends the containers of pods that no drain moves, and those that
// nodeadm leaves running.
func (p *job) endContainers(ctx context.Context, run engine.Run) error {
	result, err := p.runProgram(ctx, run, "/bin/sh", "-c", containersScript)
	if err != nil {
		return err
	}
	if result.Code != 0 || result.Deadline {
		return errors.New("cannot end the containers that still run: look at 'ctr -n k8s.io tasks ls', end them or reboot, and have the host leave again")
	}
	return nil
}

// forget removes the node's identity and every record of it, the record last: a
// host that is cut off before is still known for what it was.
func (p *job) forget(ctx context.Context, run engine.Run) error {
	if err := p.Keys.Forget(); err != nil {
		return err
	}
	if p.Artifacts != nil {
		if err := p.Artifacts.Forget(); err != nil {
			return err
		}
	}
	if err := errors.Join(p.release(), p.removeConfig(ctx, run), p.partFromFstab(run), removeAll(filepath.Join(p.Dir, leavingFile))); err != nil {
		return err
	}
	if err := nodelabels.Forget(p.Dir); err != nil {
		return err
	}
	return applied.Forget(p.Dir)
}
