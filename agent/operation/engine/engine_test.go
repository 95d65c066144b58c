package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	succeeded = agentv1.OperationState_OPERATION_STATE_SUCCEEDED
	hasFailed = agentv1.OperationState_OPERATION_STATE_FAILED
)

// bench is an engine over a directory that outlives it.
type bench struct {
	*Engine
	t   *testing.T
	dir string
}

func start(t *testing.T, dir string, steps ...Step) *bench {
	t.Helper()
	return startWith(t, dir, nil, steps...)
}

func startWith(t *testing.T, dir string, stop func(context.Context, string) error, steps ...Step) *bench {
	t.Helper()
	store, err := journal.Open(filepath.Join(dir, "operations"))
	if err != nil {
		t.Fatal(err)
	}
	e := New(zaptest.NewLogger(t), store, Options{
		RetryPause: time.Millisecond,
		Stop:       stop,
		Plan:       planOf(steps...),
	})
	t.Cleanup(e.Close)
	return &bench{Engine: e, t: t, dir: dir}
}

func startPlan(t *testing.T, dir string, plan Plan) *bench {
	t.Helper()
	store, err := journal.Open(filepath.Join(dir, "operations"))
	if err != nil {
		t.Fatal(err)
	}
	e := New(logger(t), store, Options{RetryPause: time.Millisecond, Plan: func(context.Context, *agentv1.Operation, []byte) (Plan, error) { return plan, nil }})
	t.Cleanup(e.Close)
	return &bench{Engine: e, t: t, dir: dir}
}

func logger(t *testing.T) *zap.Logger { return zaptest.NewLogger(t) }

// planOf plans these steps whatever is asked.
func planOf(steps ...Step) Planner {
	return func(context.Context, *agentv1.Operation, []byte) (Plan, error) { return Plan{Steps: steps}, nil }
}

func (b *bench) submit(op *agentv1.Operation) error {
	b.t.Helper()
	signed, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.Submit(op, signed)
}

func (b *bench) end(id string) *agentv1.OperationProgress {
	b.t.Helper()
	var last *agentv1.OperationProgress
	if err := b.Follow(b.t.Context(), id, func(p *agentv1.OperationProgress) error { last = p; return nil }); err != nil {
		b.t.Fatal(err)
	}
	return last
}

func refusal(err error) agentv1.DoorRefusalReason {
	var refused *operation.Refusal
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return 0
}

func do(f func(ctx context.Context, run Run) error) Step { return Step{Name: "do", Percent: 50, Do: f} }

func TestSequenceRules(t *testing.T) {
	b := start(t, t.TempDir(), do(func(context.Context, Run) error { return nil }))
	if err := b.submit(optest.Operation(5)); err != nil {
		t.Fatal(err)
	}
	b.end("")
	if err := b.submit(optest.Operation(5)); err != nil {
		t.Errorf("the same operation again: %v", err)
	}
	changed := optest.Operation(5)
	changed.NodeIp = "127.0.0.2"
	if err := b.submit(changed); refusal(err) != malformed {
		t.Errorf("the same ID with another content: %v", err)
	}
	if err := b.submit(optest.Operation(4)); refusal(err) != stale {
		t.Errorf("an older operation: %v", err)
	}
	equal := optest.Operation(6)
	equal.Sequence.Counter = 5
	if err := b.submit(equal); refusal(err) != stale {
		t.Errorf("another operation of the same sequence: %v", err)
	}
	restored := optest.Operation(1)
	restored.Sequence.Epoch = 2
	if err := b.submit(restored); err != nil {
		t.Errorf("an operation of a later epoch: %v", err)
	}
	b.end("")
	if err := b.submit(optest.Operation(9)); refusal(err) != stale {
		t.Errorf("an operation of an older epoch: %v", err)
	}
	reused := optest.Operation(5)
	reused.Sequence = &agentv1.Sequence{Epoch: 3, Counter: 1}
	if err := b.submit(reused); refusal(err) != malformed {
		t.Errorf("an old ID with a new sequence: %v", err)
	}
	if got := b.end(optest.Operation(5).GetId()); got.GetState() != succeeded {
		t.Errorf("an earlier operation reads %v", got)
	}
}

func TestOneAtATime(t *testing.T) {
	release := make(chan struct{})
	b := start(t, t.TempDir(), do(func(context.Context, Run) error { <-release; return nil }))
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	if !b.Busy() {
		t.Error("not busy while an operation runs")
	}
	if err := b.submit(optest.Operation(2)); refusal(err) != busy {
		t.Errorf("a second operation: %v", err)
	}
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Errorf("the same operation again: %v", err)
	}
	close(release)
	b.end("")
	if b.Busy() {
		t.Error("busy after the end")
	}
	// The refused one was not lost: it may come again.
	if err := b.submit(optest.Operation(2)); err != nil {
		t.Errorf("the second operation again: %v", err)
	}
	b.end("")
}

func TestRetriesAndUndo(t *testing.T) {
	var calls []string
	undone := false
	steps := func(failure error) []Step {
		return []Step{
			{Name: "first", Percent: 10, Do: func(context.Context, Run) error { return nil }, Undo: func(context.Context, Run) error { undone = true; return nil }},
			{Name: "second", Percent: 20, Attempts: 3, Do: func(_ context.Context, run Run) error {
				calls = append(calls, run.ID)
				run.Line("a line")
				return failure
			}},
			{Name: "third", Percent: 30, Do: func(context.Context, Run) error { t.Error("the third step ran"); return nil }},
		}
	}
	b := start(t, t.TempDir(), steps(errors.New("no network"))...)
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	end := b.end("")
	if end.GetState() != hasFailed || end.GetStep() != "second" || end.GetMessage() != "no network" || end.GetPercent() != 10 || len(end.GetLogLines()) != 3 {
		t.Errorf("end = %v", end)
	}
	prefix := optest.Operation(1).GetId() + "-second-"
	if strings.Join(calls, " ") != prefix+"1 "+prefix+"2 "+prefix+"3" || !undone {
		t.Errorf("calls = %v, undone %v", calls, undone)
	}
	calls = nil
	b = start(t, t.TempDir(), steps(&Permanent{errors.New("bad input")})...)
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	if b.end(""); len(calls) != 1 {
		t.Errorf("a permanent failure was tried %d times", len(calls))
	}
}

func TestDeadlines(t *testing.T) {
	hang := func(ctx context.Context, _ Run) error { <-ctx.Done(); return ctx.Err() }
	slow := Step{Name: "slow", Deadline: 20 * time.Millisecond, Do: hang}
	b := start(t, t.TempDir(), slow)
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); !strings.Contains(end.GetMessage(), "step slow did not end within 20ms") {
		t.Errorf("end = %v", end)
	}
	b = start(t, t.TempDir(), do(hang))
	op := optest.Operation(1)
	op.Deadline = durationpb.New(30 * time.Millisecond)
	if err := b.submit(op); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); !strings.Contains(end.GetMessage(), "the operation's deadline of 30ms has passed") {
		t.Errorf("end = %v", end)
	}
}

// TestResume stops the engine in the middle of a step and goes on with another:
// the step is tried again under the same name, earlier ones are not.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	begun := make(chan struct{})
	firsts, always := 0, 0
	var runs []string
	steps := func(second func(context.Context, Run) error) []Step {
		return []Step{
			{Name: "first", Percent: 10, Do: func(context.Context, Run) error { firsts++; return nil }},
			{Name: "always", Percent: 20, Always: true, Do: func(context.Context, Run) error { always++; return nil }},
			{Name: "second", Percent: 90, Attempts: 2, Do: second},
		}
	}
	b := start(t, dir, steps(func(ctx context.Context, run Run) error {
		runs = append(runs, run.ID)
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})...)
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	<-begun
	b.Close()
	if err := b.submit(optest.Operation(2)); refusal(err) != busy {
		t.Errorf("an operation for a closed engine: %v", err)
	}

	b = start(t, dir, steps(func(_ context.Context, run Run) error { runs = append(runs, run.ID); return nil })...)
	if got := b.end(""); got.GetStep() != "second" || got.GetState() != agentv1.OperationState_OPERATION_STATE_RUNNING {
		t.Errorf("before it is resumed: %v", got)
	}
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetState() != succeeded || end.GetPercent() != 100 {
		t.Errorf("end = %v", end)
	}
	if firsts != 1 || always != 2 || len(runs) != 2 || runs[0] != runs[1] {
		t.Errorf("first ran %d times, always %d, second as %v", firsts, always, runs)
	}
	b.Close()

	b = start(t, dir)
	if err := b.Resume(); err != nil || b.Busy() {
		t.Errorf("an ended operation is resumed: %v", err)
	}
	if end := b.end(""); end.GetState() != succeeded || end.GetPercent() != 100 || end.GetNodeDigest() == "" {
		t.Errorf("end as the journal has it = %v", end)
	}
}

func TestFollowUnknown(t *testing.T) {
	b := start(t, t.TempDir())
	for _, id := range []string{"", "zzzzzzzzzzzzzzzzzzzzzzzzzz"} {
		if err := b.Follow(t.Context(), id, nil); refusal(err) != precondition {
			t.Errorf("Follow(%q) = %v", id, err)
		}
	}
	if err := b.Follow(t.Context(), "../../etc/passwd", nil); refusal(err) != malformed {
		t.Errorf("Follow of a path = %v", err)
	}
}

// TestUnwritableJournal checks that nothing is done that cannot be journalled.
func TestUnwritableJournal(t *testing.T) {
	dir := t.TempDir()
	ran := false
	b := start(t, dir, do(func(context.Context, Run) error { ran = true; return nil }))
	if err := os.RemoveAll(filepath.Join(dir, "operations")); err != nil {
		t.Fatal(err)
	}
	if err := b.submit(optest.Operation(1)); err == nil || ran {
		t.Errorf("Submit = %v, ran %v", err, ran)
	}
}

func TestUnknownKindFails(t *testing.T) {
	store, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := New(zaptest.NewLogger(t), store, Options{Plan: func(context.Context, *agentv1.Operation, []byte) (Plan, error) {
		return Plan{}, errors.New("unknown kind")
	}})
	defer e.Close()
	b := &bench{Engine: e, t: t}
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetState() != hasFailed || end.GetMessage() != "unknown kind" {
		t.Errorf("end = %v", end)
	}
}
