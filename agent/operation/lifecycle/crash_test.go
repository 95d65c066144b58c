package lifecycle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// scenario is one operation whose process is killed before and after each of its
// journal writes.
type scenario struct {
	name string
	// node: the host is a node before.
	node bool
	// prepare changes the host, in every process that works on it.
	prepare func(*host)
	op      func() *agentv1.Operation
	state   agentv1.OperationState
	// version is the node's afterwards; empty: it is none.
	version string
	// slack is how many commands of nodeadm a crash may add.
	slack int
}

func scenarios() []scenario {
	repave := func(change func(*agentv1.NodeSpec)) func() *agentv1.Operation {
		return func() *agentv1.Operation { return order(2, repaveKind, change) }
	}
	fault := func(command, mode string) func(*host) {
		return func(h *host) {
			h.options.Environment["FAKE_COMMAND"], h.options.Environment["FAKE_MODE"] = command, mode
		}
	}
	return []scenario{
		{name: "provision", op: func() *agentv1.Operation { return order(1, provisionKind, nil) }, state: succeeded, version: "1.31.5", slack: 1},
		{name: "repave, path none", node: true, op: repave(nil), state: succeeded, version: "1.31.5"},
		{name: "repave, path init", node: true, op: repave(maxPods), state: succeeded, version: "1.31.5", slack: 1},
		{name: "repave, path upgrade", node: true, op: repave(newer), state: succeeded, version: "1.32.3", slack: 1},
		{name: "repave, path reinstall", node: true, op: repave(withSSM), state: succeeded, version: "1.31.5", slack: 1},
		{name: "repave, path install", node: true, prepare: func(h *host) { h.once("no kubelet", func() { remove(h.t, filepath.Join(h.root, "usr/bin/kubelet")) }) },
			op: repave(newer), state: succeeded, version: "1.32.3", slack: 1},
		{name: "reconfigure", node: true, op: func() *agentv1.Operation { return order(2, reconfigureKind, maxPods) }, state: succeeded, version: "1.31.5", slack: 1},
		{name: "leave", node: true, op: func() *agentv1.Operation { return order(2, leaveKind, nil) }, state: succeeded, slack: 1},
		{name: "upgrade that fails and returns", node: true, prepare: fault("upgrade", "describe"), op: repave(newer), state: failed, version: "1.31.5", slack: 4},
		{name: "init that fails and returns", node: true, prepare: fault("init", "permanent"), op: repave(maxPods), state: failed, version: "1.31.5", slack: 1},
		{name: "repave aborted in its drain", node: true, prepare: func(h *host) { h.kube.onDrain = h.abort }, op: repave(newer), state: aborted, version: "1.31.5", slack: 1},
		{name: "provision aborted as its Node is Ready", prepare: func(h *host) { h.onVersion("1.31.5", h.abort) }, op: func() *agentv1.Operation { return order(1, provisionKind, nil) }, state: aborted, slack: 2},
		{name: "provision that fails and is taken back", prepare: fault("init", "permanent"), op: func() *agentv1.Operation { return order(1, provisionKind, nil) }, state: failed, slack: 2},
		{name: "repave aborted after its upgrade", node: true, prepare: func(h *host) { h.onUpgraded(h.abort) }, op: repave(newer), state: aborted, version: "1.31.5", slack: 2},
	}
}

// once does something to a host's disk for the first process only.
func (h *host) once(name string, do func()) {
	mark := filepath.Join(h.root, "once "+name)
	if _, err := os.Stat(mark); err == nil {
		return
	}
	write(h.t, mark, nil)
	do()
}

// Environment of the process that is to be killed.
const (
	crashRoot     = "LIFECYCLE_CRASH_ROOT"
	crashScenario = "LIFECYCLE_CRASH_SCENARIO"
	crashPoint    = "LIFECYCLE_CRASH_POINT"
)

// TestCrashChild is that process; without the environment it is nothing.
func TestCrashChild(t *testing.T) {
	root := os.Getenv(crashRoot)
	if root == "" {
		return
	}
	i := slices.IndexFunc(scenarios(), func(s scenario) bool { return s.name == os.Getenv(crashScenario) })
	var point, passed int
	if _, err := fmt.Sscan(os.Getenv(crashPoint), &point); err != nil || i < 0 {
		t.Fatal(i, err)
	}
	h := openHost(t, root)
	crash := func(journal.Record) {
		if passed == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		passed++
	}
	h.seam = journal.Seam{Before: crash, After: crash}
	h.perform(scenarios()[i])
	t.Errorf("point %d was never reached", point)
}

// perform runs a scenario's operation to its end.
func (h *host) perform(s scenario) *agentv1.OperationProgress {
	h.t.Helper()
	h.live()
	e := h.engine()
	defer e.Close()
	op := s.op()
	h.abort = func() { _, _ = e.Abort(op.GetId(), "local root") }
	if s.prepare != nil {
		s.prepare(h)
	}
	if err := e.Resume(); err != nil {
		h.t.Errorf("Resume: %v", err)
	}
	// The plane sends the same bytes again until it has an answer.
	signed, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := e.Submit(op, signed); err != nil {
		h.t.Fatalf("Submit: %v", err)
	}
	return h.follow(e)
}

// template is a host as the scenario begins with it.
func (s scenario) template(t *testing.T) string {
	t.Helper()
	if s.node {
		return newNode(t, "", "").root
	}
	return newBare(t, "", "").root
}

// copyHost makes a host of its own from a template.
func copyHost(t *testing.T, template string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "host")
	if out, err := exec.Command("cp", "-a", template, root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return root
}

// uncrashed counts the journal writes of a run that nothing cuts short, and its
// commands of nodeadm.
func (s scenario) uncrashed(t *testing.T, template string) (writes, commands int) {
	t.Helper()
	h := openHost(t, copyHost(t, template))
	h.seam.After = func(journal.Record) { writes++ }
	wantNone(t, "without a crash", h.wrong(s, h.perform(s)))
	return writes, len(h.calls())
}

// crashAt kills a process at a point, has another take the operation up, and says
// what is wrong in the end.
func (s scenario) crashAt(t *testing.T, template string, point, commands int) []string {
	t.Helper()
	root := copyHost(t, template)
	child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	child.Env = append(os.Environ(), crashRoot+"="+root, crashScenario+"="+s.name, fmt.Sprintf("%s=%d", crashPoint, point))
	out, err := child.CombinedOutput()
	status, ok := child.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return []string{fmt.Sprintf("the process was not killed: %v: %s", err, out)}
	}
	h := openHost(t, root)
	wrong := h.wrong(s, h.perform(s))
	if calls := h.calls(); len(calls) > commands+s.slack {
		wrong = append(wrong, fmt.Sprintf("nodeadm ran %d times, %d without a crash: %q", len(calls), commands, calls))
	}
	return wrong
}

// wrong lists in what the end of a scenario is not as it must be.
func (h *host) wrong(s scenario, end *agentv1.OperationProgress) []string {
	h.t.Helper()
	var wrong []string
	if end.GetState() != s.state {
		wrong = append(wrong, fmt.Sprintf("ended as %v: %s", end.GetState(), end.GetMessage()))
	}
	if s.version != "" {
		return append(wrong, h.faults(s.version, "")...)
	}
	if _, found, err := applied.ReadState(h.options.Dir); found || err != nil {
		wrong = append(wrong, fmt.Sprintf("a record is left: %v", err))
	}
	return append(wrong, h.leftovers()...)
}

// crash kills at every journal write of a scenario, and returns how many there are
// and how many of them, killed before and killed after, came to a good end.
func (s scenario) crash(t *testing.T) (points, recovered int) {
	t.Helper()
	template := s.template(t)
	points, commands := s.uncrashed(t, template)
	for write := range points {
		before := s.crashAt(t, template, 2*write, commands)
		after := s.crashAt(t, template, 2*write+1, commands)
		wantNone(t, fmt.Sprintf("%s, before write %d", s.name, write+1), before)
		wantNone(t, fmt.Sprintf("%s, after write %d", s.name, write+1), after)
		if len(before)+len(after) == 0 {
			recovered++
		}
	}
	return points, recovered
}

func wantNone(t *testing.T, when string, wrong []string) {
	t.Helper()
	if len(wrong) > 0 {
		t.Errorf("%s: %s", when, strings.Join(wrong, "; "))
	}
}

// TestCrashAtEveryJournalWrite is make test-crash for the operation that needs it
// most; the target does it for all.
func TestCrashAtEveryJournalWrite(t *testing.T) {
	t.Parallel()
	s := scenarios()[8]
	points, recovered := s.crash(t)
	t.Logf("%s: %d crash points, %d recovered", s.name, points, recovered)
}
