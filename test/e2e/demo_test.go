//go:build demo

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hybridagent/test/lab"
)

// The demo's rows. They are fixed: people and scripts know them.
var rowIDs = []string{
	"vpc-unreachable-before", "enrolled", "inventory", "nic", "route", "path", "clock", "signature", "provision", "node-ip", "node-ready",
	"pool-running", "ping-from-vpc", "repair", "cache", "reconnect", "repave", "leave",
}

// run is one finished run of the demo.
type run struct {
	output string
	code   int
	took   time.Duration
	rows   map[string]string // result by row
	order  []string
}

// ownSites lets the demos of this test make their sites in a folder of its own: a site that somebody keeps up is not its business.
func ownSites(t *testing.T) {
	t.Helper()
	t.Setenv("DEMO_SITES", t.TempDir())
}

func demoCommand(ctx context.Context, t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, filepath.Join(repository(t), "build/lab/demo"))
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

// play runs the demo to its end.
func play(t *testing.T, env ...string) run {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := demoCommand(ctx, t, env...)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := run{output: string(out), code: cmd.ProcessState.ExitCode(), took: time.Since(begin), rows: make(map[string]string)}
	r.readTable()
	return r
}

var tableLine = regexp.MustCompile(`^([a-z][a-z-]+) +(ok|FAILED|not reached)(  |$)`)

func (r *run) readTable() {
	_, table, _ := strings.Cut(r.output, "CHECK ")
	for line := range strings.Lines(table) {
		if match := tableLine.FindStringSubmatch(strings.TrimRight(line, "\n")); match != nil {
			r.rows[match[1]] = match[2]
			r.order = append(r.order, match[1])
		}
	}
}

// firstFailed is the first row that did not hold for a reason of its own.
func (r *run) firstFailed() string {
	for _, id := range r.order {
		if r.rows[id] == "FAILED" {
			return id
		}
	}
	return ""
}

func requireNothingLeft(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := lab.Until(ctx, "an empty machine", 20*time.Millisecond, func(context.Context) error {
		left, err := lab.Leftovers(os.Getenv("DEMO_SITES"))
		if err == nil && len(left) > 0 {
			err = errors.New("left behind: " + strings.Join(left, "; "))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestEveryRowHolds(t *testing.T) {
	ownSites(t)
	r := play(t)
	requireNothingLeft(t)
	if r.code != 0 || !slices.Equal(r.order, rowIDs) {
		t.Fatalf("exit code %d, rows %v; output:\n%s", r.code, r.order, r.output)
	}
	for _, id := range rowIDs {
		if r.rows[id] != "ok" {
			t.Errorf("%s is %s", id, r.rows[id])
		}
	}
	for _, word := range []string{"stand-ins: AWS", "nodeadm, kubelet"} {
		if !strings.Contains(r.output, word) {
			t.Errorf("the output does not say %q", word)
		}
	}
	if r.took > 2*time.Minute {
		t.Errorf("the demo took %v, more than two minutes", r.took)
	}
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.output)
}

func TestEachBreakFailsItsRow(t *testing.T) {
	ownSites(t)
	breaks := map[string]struct {
		row           string // that fails; default: the break's name
		unreached, ok []string
	}{
		"repair":    {unreached: []string{"cache", "reconnect"}, ok: []string{"route", "pool-running", "ping-from-vpc"}},
		"node-ip":   {unreached: []string{"node-ready", "pool-running", "cache", "reconnect"}, ok: []string{"provision", "ping-from-vpc", "repair"}},
		"signature": {unreached: []string{"provision", "node-ip", "node-ready", "pool-running", "cache"}, ok: []string{"path", "clock", "repair"}},
		"cache":     {unreached: []string{"reconnect"}, ok: []string{"pool-running", "repair"}},
		"route":     {unreached: []string{"path", "signature", "provision", "ping-from-vpc", "repair", "cache"}, ok: []string{"nic", "clock"}},
		"drain":     {row: "repave", unreached: []string{"leave"}, ok: []string{"pool-running", "reconnect"}},
		"uncordon":  {row: "repave", unreached: []string{"leave"}, ok: []string{"pool-running", "reconnect"}},
		"clock":     {ok: []string{"path", "pool-running", "cache", "reconnect"}},
	}
	for name, want := range breaks {
		t.Run(name, func(t *testing.T) {
			r := play(t, "DEMO_BREAK="+name)
			requireNothingLeft(t)
			if row := cmp.Or(want.row, name); r.code != 1 || !slices.Equal(r.order, rowIDs) || r.firstFailed() != row {
				t.Fatalf("exit code %d, first FAILED row %q, want %q; output:\n%s", r.code, r.firstFailed(), row, r.output)
			}
			for _, id := range want.unreached {
				if r.rows[id] != "not reached" {
					t.Errorf("%s is %s, want it not reached", id, r.rows[id])
				}
			}
			for _, id := range want.ok {
				if r.rows[id] != "ok" {
					t.Errorf("%s is %s, want it ok; output:\n%s", id, r.rows[id], r.output)
				}
			}
			t.Logf("%.1f s", r.took.Seconds())
		})
	}
}

func TestUnknownBreakIsAUsageError(t *testing.T) {
	ownSites(t)
	if r := play(t, "DEMO_BREAK=everything"); r.code != 2 || !strings.Contains(r.output, "not one of") {
		t.Errorf("exit code %d: %s", r.code, r.output)
	}
	requireNothingLeft(t)
}

// TestInterruptedAnywhere ends the demo at random moments of its first seconds, gently and not.
func TestInterruptedAnywhere(t *testing.T) {
	ownSites(t)
	for _, signal := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGKILL, unix.SIGINT, unix.SIGKILL, unix.SIGINT} {
		moment := time.Duration(rand.IntN(9000)) * time.Millisecond
		t.Run(signal.String()+" after "+moment.String(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cmd := demoCommand(ctx, t)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(moment, func() { _ = cmd.Process.Signal(signal) })
			defer timer.Stop()
			_ = cmd.Wait()
			if signal != unix.SIGKILL && cmd.ProcessState.ExitCode() != 130 {
				t.Errorf("exit code %d after %v; output:\n%s", cmd.ProcessState.ExitCode(), signal, out.String())
			}
			requireNothingLeft(t)
		})
	}
}

func TestKeepAndDown(t *testing.T) {
	ownSites(t)
	r := play(t, "KEEP=1")
	defer requireNothingLeft(t)
	demo := filepath.Join(repository(t), "build/lab/demo")
	defer func() {
		if out, err := exec.Command(demo, "down").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}()
	if r.code != 0 || !strings.Contains(r.output, "make demo-down") {
		t.Fatalf("exit code %d; output:\n%s", r.code, r.output)
	}
	// Every command that the demo recommends works.
	_, hints, _ := strings.Cut(r.output, "To look around")
	hints = strings.ReplaceAll(hints, "\\\n", "")
	tried := 0
	for line := range strings.Lines(hints) {
		command := strings.TrimSpace(line)
		if !strings.HasPrefix(command, "build/lab/demo exec") && !strings.HasPrefix(command, "ls ") {
			continue
		}
		tried++
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = repository(t)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", command, err, out)
		}
		for line := range bytes.Lines(out) {
			if strings.HasSuffix(command, "hybrid-agent status") && len([]rune(strings.TrimRight(string(line), "\n"))) > 80 {
				t.Errorf("status is wider than 80 columns: %s", line)
			}
		}
		t.Logf("$ %s\n%s", command, out)
	}
	if tried < 6 {
		t.Errorf("only %d commands are recommended:\n%s", tried, hints)
	}
}
