//go:build systemd

package systemd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// slowInit makes nodeadm init take four seconds: time to do harm in.
const slowInit = `{"timeScale":0.05,"faults":[{"command":"init","phase":"kubelet-start","action":"slow","ms":4000}]}`

// journalOf is what hybrid-agent-op show prints.
type journalOf struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Records []struct {
		Kind    string `json:"kind"`
		Step    string `json:"step"`
		Attempt int    `json:"attempt"`
		Message string `json:"message"`
	} `json:"records"`
}

func (w *world) operation(ctx context.Context) (journalOf, error) {
	out, err := w.machine.Host.Exec(ctx, "/usr/libexec/hybrid-agent/hybrid-agent-op", "show", "-o", "json")
	if err != nil {
		return journalOf{}, err
	}
	var shown journalOf
	return shown, json.Unmarshal([]byte(out), &shown)
}

// count counts the records of a kind of a step.
func (j journalOf) count(kind, step string) int {
	n := 0
	for _, record := range j.Records {
		if record.Kind == kind && record.Step == step {
			n++
		}
	}
	return n
}

// provisioning takes a fresh host to the middle of nodeadm init.
func provisioning(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.programs()
	w.surround()
	token, err := w.operator.Token(w.ctx, 1)
	w.must(err)
	w.install()
	w.configure(w.plane.CAPin, token)
	w.must(w.machine.WriteFile("etc/tmpfiles.d/hybrid-lab-standins.conf", fmt.Appendf(nil, "f /run/hybrid-lab/fakenodeadm.json 0644 - - - %s\n", slowInit), 0o644))
	w.must(w.machine.Boot(w.ctx))
	w.pool(w.enrolled())
	w.until("nodeadm init to begin", time.Minute, func(ctx context.Context) error {
		shown, err := w.operation(ctx)
		if err != nil {
			return err
		}
		if shown.count("intent", "nodeadm-init") == 0 {
			return fmt.Errorf("operation is %s", shown.State)
		}
		return nil
	})
	return w
}

// initUnit is the transient unit in which nodeadm init runs.
func (w *world) initUnit() string {
	w.t.Helper()
	unit := ""
	w.until("the unit of nodeadm init", 10*time.Second, func(ctx context.Context) error {
		out, err := w.machine.Host.Exec(ctx, "systemctl", "list-units", "--plain", "--no-legend", "hybrid-agent-run-*nodeadm-init*")
		if err != nil {
			return err
		}
		fields := strings.Fields(out)
		if len(fields) < 4 || fields[3] != "running" {
			return fmt.Errorf("units: %q", out)
		}
		unit = fields[0]
		return nil
	})
	return unit
}

// TestOpKilledWhileNodeadmRuns kills root's program in the middle of nodeadm
// init: nodeadm goes on in its unit, and the next process takes up its result.
func TestOpKilledWhileNodeadmRuns(t *testing.T) {
	w := provisioning(t)
	unit := w.initUnit()
	before := w.property(unit, "MainPID")
	for name, want := range map[string]string{"KillMode": "control-group", "Type": "exec", "SendSIGKILL": "yes"} {
		if got := w.property(unit, name); got != want {
			t.Errorf("%s of the unit is %s, want %s", name, got, want)
		}
	}
	if limit := w.property(unit, "RuntimeMaxUSec"); limit == "infinity" {
		t.Error("nothing ends the unit when root's program is gone")
	}
	w.onHost("systemctl", "kill", "--signal=KILL", "hybrid-agent-op.service")
	if after := w.property(unit, "MainPID"); after != before {
		t.Errorf("nodeadm's process was %s and is %s", before, after)
	}
	w.until("a Ready node", time.Minute, w.holds("NodeReady"))
	shown, err := w.operation(w.ctx)
	w.must(err)
	if shown.State != "succeeded" || shown.count("failed", "nodeadm-init") != 0 || shown.count("intent", "nodeadm-init") != 2 {
		t.Errorf("operation is %s: %+v", shown.State, shown.Records)
	}
	w.requireInitRuns(shown.ID, 1)
	if left := w.onHost("sh", "-c", "ls /run/hybrid-agent-op/runs"); left != "" {
		t.Errorf("output is left: %s", left)
	}
}

// TestPowerCutWhileNodeadmRuns takes the power away in the middle of nodeadm
// init: the operation goes on at the next boot and ends on a Ready node.
func TestPowerCutWhileNodeadmRuns(t *testing.T) {
	w := provisioning(t)
	w.initUnit()
	w.must(w.machine.PowerCut(w.ctx))
	w.must(w.machine.Boot(w.ctx))
	w.until("a Ready node", time.Minute, w.holds("NodeReady"))
	shown, err := w.operation(w.ctx)
	w.must(err)
	if shown.State != "succeeded" || shown.count("done", "nodeadm-install") != 1 {
		t.Errorf("operation is %s: %+v", shown.State, shown.Records)
	}
}

// requireInitRuns counts nodeadm's runs of init in the host's journal, where
// each line stands under the operation's ID.
func (w *world) requireInitRuns(id string, want int) {
	w.t.Helper()
	out := w.onHost("journalctl", "--no-pager", "-o", "cat", "HYBRID_OPERATION_ID="+id)
	if !strings.Contains(out, "Installing kubelet") {
		w.t.Errorf("nodeadm's lines are not in the journal under the operation's ID: %q", out)
	}
	all := w.onHost("journalctl", "--no-pager", "-o", "cat", "-u", "hybrid-agent-run-"+id+"-nodeadm-init-*")
	if got := strings.Count(all, "Started hybrid-agent-run-"); got != want {
		w.t.Errorf("nodeadm init was started %d times, want %d: %q", got, want, all)
	}
}
