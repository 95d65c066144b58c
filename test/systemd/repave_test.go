//go:build systemd

package systemd

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// slowRestart makes nodeadm take three seconds before it starts kubelet anew: time to do harm in, with the old kubelet gone.
const slowRestart = `{"timeScale":0.05,"faults":[{"command":"upgrade","phase":"kubelet-start","action":"slow","ms":3000},{"command":"init","phase":"kubelet-start","action":"slow","ms":3000}]}`

// repaving is a node on a systemd host, with what it takes to repave it.
type repaving struct {
	*world
	hostID string
	// profiles counts the versions of the profile that were applied.
	profiles int
}

// node takes a host to Ready.
func node(t *testing.T, suite string) *repaving {
	t.Helper()
	w := installed(t, suite)
	w.standIns(slowRestart)
	w.must(w.machine.Boot(w.ctx))
	r := &repaving{world: w, hostID: w.enrolled()}
	w.pool(r.hostID)
	w.until("a Ready node", time.Minute, w.holds("NodeReady"))
	return r
}

// want chooses another version of the profile, which begins the repave.
func (r *repaving) want(kubernetes string, maxPods int) {
	r.t.Helper()
	r.profiles++
	version := fmt.Sprintf("1.%d.0", r.profiles)
	profile, err := actors.ProfileYAML(actors.Profile{Version: version, Kubernetes: kubernetes, MaxPods: maxPods, DrainSeconds: 20})
	r.must(err)
	r.must(r.operator.Apply(r.ctx, "profile-"+version+".yaml", profile))
	pool, err := actors.PoolYAMLOf(strings.ToUpper(runtime.GOARCH), version, []actors.PoolMember{
		{HostID: r.hostID, HostName: "till-1", NIC: "auto", VPNServer: lab.VPNServer},
	})
	r.must(err)
	r.must(r.operator.Apply(r.ctx, "pool-"+version+".yaml", pool))
}

// begun waits until a nodeadm command of a new operation is at work, and returns the operation.
func (r *repaving) begun(before, command string) journalOf {
	r.t.Helper()
	var shown journalOf
	r.until("nodeadm "+command+" to run", time.Minute, func(ctx context.Context) (err error) {
		if shown, err = r.operation(ctx); err != nil {
			return err
		}
		if shown.ID == before {
			return errors.New("no operation has begun")
		}
		out, err := r.machine.Host.Exec(ctx, "systemctl", "list-units", "--plain", "--no-legend", "--state=running", "hybrid-agent-run-"+shown.ID+"-*"+command+"*")
		if err != nil || strings.TrimSpace(out) == "" {
			return fmt.Errorf("operation %s is %s; units %q, %w", shown.ID, shown.State, out, err)
		}
		return nil
	})
	return shown
}

// last is the ID of the operation that ended last.
func (r *repaving) last() string {
	r.t.Helper()
	shown, err := r.operation(r.ctx)
	r.must(err)
	return shown.ID
}

// ends waits for the operation's end, and requires a Ready node of that version that takes pods.
func (r *repaving) ends(id, state, kubernetes string) journalOf {
	r.t.Helper()
	var shown journalOf
	r.until("the end of operation "+id, 10*time.Minute, func(ctx context.Context) (err error) {
		shown, err = r.operation(ctx)
		if err == nil && (shown.ID != id || shown.State != "succeeded" && shown.State != "failed" && shown.State != "aborted") {
			err = fmt.Errorf("operation %s is %s", shown.ID, shown.State)
		}
		return err
	})
	if shown.State != state {
		r.t.Fatalf("operation ended %s, want %s: %+v", shown.State, state, shown.Records)
	}
	r.until("a Ready node with Kubernetes "+kubernetes, time.Minute, func(ctx context.Context) error {
		nodes, err := r.aws.Nodes(ctx)
		if err != nil {
			return err
		}
		n := nodes[r.hostID]
		if !n.Ready || n.Unschedulable || !strings.HasPrefix(n.KubeletVersion, "v"+kubernetes) {
			return fmt.Errorf("Ready %v, cordoned %v, kubelet %s", n.Ready, n.Unschedulable, n.KubeletVersion)
		}
		return nil
	})
	r.until("a healthy host", time.Minute, r.holds("NodeReady", "RoutesInstalled"))
	return shown
}

// TestRepaveThroughHarm repaves a node again and again, and harms it in the middle of nodeadm each time: the daemon is killed, the package is
// upgraded, the power is cut, the host is rebooted in order. Each operation ends on the version that was asked for.
func TestRepaveThroughHarm(t *testing.T) {
	for _, suite := range []string{newSystemd, oldSystemd} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			r := node(t, suite)
			power := func(off func(context.Context) error) func() {
				return func() { r.must(off(r.ctx)); r.must(r.machine.Boot(r.ctx)) }
			}
			for _, harm := range []struct {
				name       string
				kubernetes string
				maxPods    int
				command    string
				do         func()
			}{
				{"daemon killed", actors.OlderKubernetes, 60, "upgrade", func() { r.onHost("systemctl", "kill", "--signal=KILL", "hybrid-agent.service") }},
				{"power cut", actors.KubernetesVersion, 60, "upgrade", power(r.machine.PowerCut)},
				{"package upgraded", actors.OlderKubernetes, 50, "upgrade", r.upgradePackage},
				{"power cut in a reconfiguration", actors.OlderKubernetes, 40, "init", power(r.machine.PowerCut)},
				{"rebooted", actors.KubernetesVersion, 40, "upgrade", power(r.machine.Shutdown)},
			} {
				before := r.last()
				r.want(harm.kubernetes, harm.maxPods)
				shown := r.begun(before, harm.command)
				harm.do()
				r.ends(shown.ID, "succeeded", harm.kubernetes)
				t.Log(harm.name + ": ended as asked for")
			}
			if log := r.onHost("sh", "-c", "cat /run/hybrid-lab/packages.log 2>/dev/null; true"); log != "" {
				t.Errorf("nodeadm would have upgraded packages of the OS: %s", log)
			}
		})
	}
}

// upgradePackage does what the package's scripts do when another version is installed: units are read anew, and what runs is restarted.
func (r *repaving) upgradePackage() {
	r.t.Helper()
	r.onHost("systemctl", "daemon-reload")
	r.onHost("systemctl", "try-restart", "hybrid-agent-op.service", "hybrid-agent.service")
}

// TestBrokenKubeletGoesBack: the new kubelet exits a few seconds after its start, and nodeadm says that all is well. The node is Ready on the
// old version within ten minutes.
func TestBrokenKubeletGoesBack(t *testing.T) {
	t.Parallel()
	r := node(t, newSystemd)
	r.must(r.machine.WriteFile("run-fault.json", []byte(`{"timeScale":0.05,"kubelet":{"version":"1.30","exitAfterSeconds":2}}`), 0o644))
	r.onHost("cp", "/run-fault.json", "/run/hybrid-lab/fakenodeadm.json")
	before := r.last()
	r.want(actors.OlderKubernetes, 60)
	shown := r.begun(before, "upgrade")
	end := r.ends(shown.ID, "failed", actors.KubernetesVersion)
	message := end.Records[len(end.Records)-1].Message
	if !strings.Contains(message, actors.KubernetesVersion) {
		t.Errorf("the operation's last message does not name the version in force: %s", message)
	}
	t.Log(message)
}

// TestLeaveAndJoinAgain: the host leaves its pool, and is a node again when it is put back.
func TestLeaveAndJoinAgain(t *testing.T) {
	t.Parallel()
	r := node(t, newSystemd)
	before := r.last()
	empty, err := actors.PoolYAML(strings.ToUpper(runtime.GOARCH), nil)
	r.must(err)
	r.must(r.operator.Apply(r.ctx, "pool-empty.yaml", empty))
	r.until("the host to leave", time.Minute, func(ctx context.Context) error {
		shown, err := r.operation(ctx)
		if err == nil && (shown.ID == before || shown.State != "succeeded") {
			err = fmt.Errorf("operation %s is %s", shown.ID, shown.State)
		}
		return err
	})
	if left := r.onHost("sh", "-c", "ls -d /usr/bin/kubelet /opt/nodeadm/tracker /etc/aws /etc/iam/pki/server.key /etc/systemd/system/multi-user.target.wants/kubelet.service 2>/dev/null; true"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	r.pool(r.hostID)
	r.until("a Ready node", time.Minute, r.holds("NodeReady", "RoutesInstalled"))
}
