//go:build systemd

package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTransientUnits runs scripts in transient units on a real host: exit codes,
// signals, a program that is not there, and a deadline that ends children which
// left session, parent and environment behind.
func TestTransientUnits(t *testing.T) {
	w := newWorld(t)
	helper := filepath.Join(w.site.Folder, "onhost")
	build := exec.CommandContext(w.ctx, "go", "build", "-o", helper, "./agent/operation/runner/testdata/onhost")
	build.Dir, build.Env = w.repo, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the helper: %v: %s", err, out)
	}
	w.machine.Binds["/usr/local/bin/onhost"] = helper
	w.must(w.machine.Boot(w.ctx))
	daemons := `setsid sleep 71001 & (setsid env -i sleep 71002 &) ; sleep 71003 & echo ready; wait`
	for n, c := range []struct{ deadline, script, want string }{
		{"10s", "echo out; echo err >&2; echo mark $MARK", "line: out\nline: err\nline: mark run-0\nresult: {Code:0 Signal: Deadline:false}"},
		{"10s", "exit 3", "result: {Code:3 Signal: Deadline:false}"},
		{"10s", "kill -SEGV $$", "result: {Code:-1 Signal:SIGSEGV Deadline:false}"},
		{"10s", "exec /no/such/program", "line: /bin/sh: 1: exec: /no/such/program: not found\nresult: {Code:127 Signal: Deadline:false}"},
		{"2s", daemons, "line: ready\nresult: {Code:-1 Signal:SIGKILL Deadline:true}"},
		{"10s", `(setsid env -i sleep 71004 &) ; exit 0`, "result: {Code:0 Signal: Deadline:false}"},
	} {
		got := w.onHost("onhost", "/run/onhost", fmt.Sprintf("run-%d", n), c.deadline, c.script)
		if got != c.want {
			t.Errorf("%q:\n%s\nwant\n%s", c.script, got, c.want)
		}
	}
	if left := w.onHost("sh", "-c", "ls /run/onhost; ps -eo args= | grep 'sleep 7100[0-9]' | grep -v grep || true"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	units := w.onHost("systemctl", "list-units", "--all", "--plain", "--no-legend", "hybrid-agent-run-*")
	if strings.TrimSpace(units) != "" {
		t.Errorf("systemd still knows %s", units)
	}
}
