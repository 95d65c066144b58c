//go:build systemd

package systemd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stubborn leaves processes behind that take no SIGTERM and have left session, parent
// and environment: one forked twice, one in a session of its own.
const stubborn = `trap '' TERM
(setsid env -i sh -c 'trap "" TERM; sleep 71001 & wait' &) ; setsid sleep 71002 & (setsid env -i sleep 71003 &) ; sleep 71004 &
echo ready; while :; do wait; sleep 0.1; done`

// newRunnerHost boots a host on which onhost runs scripts as operations run nodeadm.
func newRunnerHost(t *testing.T, suite string) *world {
	t.Helper()
	w := newWorldOn(t, suite)
	helper := filepath.Join(w.site.Folder, "onhost")
	build := exec.CommandContext(w.ctx, "go", "build", "-o", helper, "./agent/operation/runner/testdata/onhost")
	build.Dir, build.Env = w.repo, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the helper: %v: %s", err, out)
	}
	w.machine.Binds["/usr/local/bin/onhost"] = helper
	w.must(w.machine.Boot(w.ctx))
	return w
}

// TestTransientUnits runs scripts in transient units on a real host: exit codes,
// signals, a program that is not there, and a deadline that ends children which
// left session, parent and environment behind and take no SIGTERM.
func TestTransientUnits(t *testing.T) {
	onBoth(t, func(t *testing.T, suite string) {
		w := newRunnerHost(t, suite)
		for n, c := range []struct{ deadline, script, want string }{
			{"10s", "echo out; echo err >&2; echo mark $MARK", "line: out\nline: err\nline: mark run-0\nresult: {Code:0 Signal: Deadline:false}"},
			{"10s", "exit 3", "result: {Code:3 Signal: Deadline:false}"},
			{"10s", "kill -SEGV $$", "result: {Code:-1 Signal:SIGSEGV Deadline:false}"},
			{"10s", "exec /no/such/program", "line: /bin/sh: 1: exec: /no/such/program: not found\nresult: {Code:127 Signal: Deadline:false}"},
			{"2s", stubborn, "line: ready\nresult: {Code:-1 Signal:SIGKILL Deadline:true}"},
			{"10s", `(setsid env -i sleep 71005 &) ; exit 0`, "result: {Code:0 Signal: Deadline:false}"},
		} {
			got := w.onHost("onhost", "/run/onhost", fmt.Sprintf("run-%d", n), c.deadline, c.script)
			if got != c.want {
				t.Errorf("%q:\n%s\nwant\n%s", c.script, got, c.want)
			}
		}
		w.requireNoRuns()
	})
}

// requireNoRuns checks that nothing of a run is left: no process, output or unit.
func (w *world) requireNoRuns() {
	w.t.Helper()
	if left := w.onHost("sh", "-c", "ls /run/onhost; "+sleepers); left != "" {
		w.t.Errorf("left behind: %s", left)
	}
	if units := w.onHost("systemctl", "list-units", "--all", "--plain", "--no-legend", "hybrid-agent-run-*"); units != "" {
		w.t.Errorf("systemd still knows %s", units)
	}
}

// sleepers lists what the scripts have left running.
const sleepers = "ps -eo args= | grep '^sleep 7100[0-9]' || true"

// TestRunIsFoundInTheJournal: what a program in a unit writes to the journal by itself
// stands under the operation's ID, beside the lines that root's program puts there.
func TestRunIsFoundInTheJournal(t *testing.T) {
	onBoth(t, func(t *testing.T, suite string) {
		w := newRunnerHost(t, suite)
		// The journal asks the process who it is, which must live until then.
		w.onHost("onhost", "/run/onhost", "run-j", "10s", "(echo by-stream; sleep 1) | systemd-cat")
		w.until("its line in the journal", 10*time.Second, func(ctx context.Context) error {
			out, err := w.machine.Host.Exec(ctx, "journalctl", "--no-pager", "-o", "cat", "HYBRID_OPERATION_ID=run-j")
			if err == nil && !strings.Contains(out, "by-stream") {
				err = fmt.Errorf("it is not in %q", out)
			}
			return err
		})
	})
}

// TestDeadlineWithoutTheOp kills root's program: systemd itself ends the run, with
// all its processes, when its time is over.
func TestDeadlineWithoutTheOp(t *testing.T) {
	onBoth(t, func(t *testing.T, suite string) {
		w := newRunnerHost(t, suite)
		run, err := w.machine.Host.Start("onhost", w.machine.Host.Command(w.ctx, "onhost", "/run/onhost", "run-d", "5s", stubborn))
		w.must(err)
		w.until("its processes", 10*time.Second, func(ctx context.Context) error {
			out, err := w.machine.Host.Exec(ctx, "sh", "-c", sleepers)
			if err == nil && strings.Count(out, "sleep 7100") < 4 {
				err = fmt.Errorf("there are %q", out)
			}
			return err
		})
		w.must(run.Kill())
		w.until("the end of its processes", 2*time.Minute, func(ctx context.Context) error {
			out, err := w.machine.Host.Exec(ctx, "sh", "-c", sleepers)
			if err == nil && out != "" {
				err = fmt.Errorf("there are %q", out)
			}
			return err
		})
		if result := w.property("hybrid-agent-run-run-d.service", "Result"); result != "timeout" {
			t.Errorf("the unit's result is %s, want timeout", result)
		}
	})
}
