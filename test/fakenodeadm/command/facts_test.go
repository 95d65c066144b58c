package command_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hybridagent/test/fakenodeadm/facts"
)

// buffer is a stderr that may be read while the command still writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// recordings is the number of recorded runs that the table was made from.
const recordings = 70

// TestRecordedRuns starts the stand-in from the state of every recorded run of the real nodeadm and wants the same end: exit code,
// messages, calls, files, units and tracker.
func TestRecordedRuns(t *testing.T) {
	t.Parallel()
	table, err := facts.Load("../testdata/facts.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Cases) < recordings {
		t.Fatalf("the table holds %d cases, want the %d recorded runs", len(table.Cases), recordings)
	}
	for i := range table.Cases {
		c := &table.Cases[i]
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			compare(t, table, c)
		})
	}
}

func compare(t *testing.T, table *facts.Table, c *facts.Case) {
	h := newHost(t, table, slices.Contains(c.Setup, facts.StepKubeDown) && !slices.Contains(c.Setup, facts.StepInit))
	for _, step := range c.Setup {
		h.step(step)
	}
	before := h.snapshot()
	h.must(before.Age(h.root))
	h.units.forgetStarts()
	h.server.ResetCalls()

	stdout, stderr, code := h.exec(c.Args, c.Exit == 137)

	if code != c.Exit {
		t.Errorf("exit code %d, want %d", code, c.Exit)
	}
	if got := strings.ReplaceAll(stdout, versionLine(stdout), "Version: <version>\n"); got != c.Stdout {
		t.Errorf("stdout %q, want %q", got, c.Stdout)
	}
	sameLines(t, "message", h.messages(stderr), table.MessagesOf(c))
	sameLines(t, "call", h.calls(), table.CallsOf(c))
	for _, diff := range table.DiffFiles(c, before.Changes(h.snapshot(), h.likeRecorded)) {
		t.Error(diff)
	}
	for unit, want := range c.Units {
		if got := h.units.state(unit); got != want {
			t.Errorf("unit %s is %q, want %q", unit, got, want)
		}
	}
	if got := h.tracker(); got != c.Tracker {
		t.Errorf("tracker is %s, want %s", got, c.Tracker)
	}
	if strings.HasPrefix(c.Name, "34b") || strings.HasPrefix(c.Name, "22a") {
		h.wantSize("/usr/bin/kubelet", 40)
	}
}

func versionLine(stdout string) string {
	if strings.HasPrefix(stdout, "Version: v") {
		return stdout
	}
	return "\x00"
}

// exec runs nodeadm; with kill it cancels the run once it has waited several times for the same thing.
func (h *host) exec(args []string, kill bool) (stdout, stderr string, code int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	var out, errs buffer
	done := make(chan int, 1)
	command := h.command(&out, &errs)
	go func() { done <- command.Run(ctx, args) }()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case code = <-done:
			if ctx.Err() != nil && !kill {
				h.t.Errorf("nodeadm did not end by itself")
			}
			return out.String(), errs.String(), code
		case <-poll.C:
			if kill && (strings.Count(errs.String(), "not in the desired state yet") >= 4 || h.cutOff()) {
				cancel()
			}
		}
	}
}

// cutOff tells that a stalled download has left its first bytes in place of kubelet.
func (h *host) cutOff() bool {
	info, err := os.Stat(filepath.Join(h.root, "/usr/bin/kubelet"))
	return err == nil && info.Size() == 40
}

// messages turns stderr into the table's lines, with addresses as they were when the runs were recorded.
func (h *host) messages(stderr string) []string {
	h.t.Helper()
	lines, err := facts.Messages(h.likeRecorded(stderr))
	h.must(err)
	return lines
}

func (h *host) calls() []string {
	var out []string
	for _, c := range h.server.Calls() {
		status := c.Status
		if status == 0 {
			status = 499 // never answered: the client went away
		}
		out = append(out, facts.Call(c.Service, c.Method, c.Path, c.Action, c.Target, status))
	}
	return out
}

func sameLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := facts.DiffLines(what, got, want); diff != "" {
		t.Error(diff)
	}
}
