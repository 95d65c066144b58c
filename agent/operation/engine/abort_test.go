package engine

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const wasAborted = agentv1.OperationState_OPERATION_STATE_ABORTED

// abortOf is the n-th operation of its host, an abort of another.
func abortOf(n uint64, target string) *agentv1.Operation {
	return &agentv1.Operation{
		Id: fmt.Sprintf("%026d", n), HostId: optest.HostID, Kind: agentv1.OperationKind_OPERATION_KIND_ABORT,
		Sequence: &agentv1.Sequence{Epoch: 1, Counter: n}, Abort: &agentv1.AbortOrder{OperationId: target},
	}
}

// hanging waits for its context, with an undo that does the same on demand.
func hanging(undo func(context.Context, Run) error) (Step, chan struct{}) {
	begun := make(chan struct{}, 8)
	return Step{Name: "hang", Percent: 50, Do: func(ctx context.Context, _ Run) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, Undo: undo}, begun
}

func nothing(context.Context, Run) error { return nil }

// TestSignedAbort ends an operation by one of its own sequence, which the same
// bytes do not end twice, and which an older operation cannot follow.
func TestSignedAbort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	step, begun := hanging(nothing)
	b := start(t, dir, step)
	if err := b.submit(abortOf(3, optest.Operation(5).GetId())); refusal(err) != precondition {
		t.Errorf("an abort of nothing: %v", err)
	}
	op := optest.Operation(5)
	if err := b.submit(op); err != nil {
		t.Fatal(err)
	}
	<-begun
	for name, wrong := range map[string]struct {
		abort *agentv1.Operation
		want  agentv1.DoorRefusalReason
	}{
		"stale": {abortOf(4, op.GetId()), stale}, "another's": {abortOf(6, optest.Operation(2).GetId()), precondition},
	} {
		if err := b.submit(wrong.abort); refusal(err) != wrong.want {
			t.Errorf("%s abort: %v", name, err)
		}
	}
	abort := abortOf(7, op.GetId())
	for range 2 {
		if err := b.submit(abort); err != nil {
			t.Fatalf("abort: %v", err)
		}
	}
	end := b.end(abort.GetId())
	if end.GetState() != succeeded || end.GetKind() != agentv1.OperationKind_OPERATION_KIND_ABORT || end.GetOperationId() != abort.GetId() {
		t.Errorf("the abort ended as %v", end)
	}
	if end := b.end(op.GetId()); end.GetState() != wasAborted || end.GetMessage() != "aborted by "+abort.GetId() || end.GetAbortable() {
		t.Errorf("the operation ended as %v", end)
	}
	b.afterAbort(t, op, abort)
	b.Close()

	b = start(t, dir, step)
	if err := b.Resume(); err != nil || b.Busy() {
		t.Errorf("Resume = %v, busy %v", err, b.Busy())
	}
	b.afterAbort(t, op, abort)
	if end := b.end(""); end.GetState() != wasAborted || end.GetOperationId() != op.GetId() {
		t.Errorf("the last operation = %v", end)
	}
	if end := b.end(abort.GetId()); end.GetState() != succeeded || end.GetStartedAt() == nil {
		t.Errorf("the abort, from the journal = %v", end)
	}
	write(t, filepath.Join(dir, "operations", "sequence"), "damaged")
	b.afterAbort(t, op, abort)
}

// afterAbort submits again what was submitted before, and what is too old.
func (b *bench) afterAbort(t *testing.T, op, abort *agentv1.Operation) {
	t.Helper()
	if err := b.submit(op); err != nil {
		t.Errorf("the same operation after its abort: %v", err)
	}
	if err := b.submit(abort); err != nil {
		t.Errorf("the same abort: %v", err)
	}
	forged := proto.CloneOf(abort)
	forged.Abort.OperationId = optest.Operation(1).GetId()
	if err := b.submit(forged); refusal(err) != malformed {
		t.Errorf("the abort's ID with another content: %v", err)
	}
	if err := b.submit(optest.Operation(6)); refusal(err) != stale {
		t.Errorf("an operation between the two: %v", err)
	}
	if _, err := b.Abort(op.GetId(), "local root"); refusal(err) != precondition {
		t.Errorf("an abort after the end: %v", err)
	}
}

// TestAbortIsOnDiskBeforeItActs: the process dies as soon as the abort is
// answered, and again in the undo; the operation goes on being aborted.
func TestAbortIsOnDiskBeforeItActs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	undoing := make(chan struct{}, 8)
	step, begun := hanging(func(ctx context.Context, run Run) error {
		undoing <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	b := start(t, dir, step)
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	<-begun
	if id, err := b.Abort("", "local root"); err != nil || id != optest.Operation(1).GetId() {
		t.Fatalf("Abort = %q, %v", id, err)
	}
	if id, err := b.Abort(id26(1), "local root"); err != nil || id != optest.Operation(1).GetId() {
		t.Errorf("the same abort again = %q, %v", id, err)
	}
	<-undoing
	b.Close()
	ids := make(chan string, 1)
	step.Undo = func(_ context.Context, run Run) error { ids <- run.ID; return nil }
	step.Do = func(context.Context, Run) error { t.Error("an aborted operation goes forward"); return nil }
	b = start(t, dir, step)
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetState() != wasAborted || end.GetMessage() != "aborted by local root" {
		t.Errorf("end = %v", end)
	}
	if id := <-ids; id != id26(1)+"-hang-u1" {
		t.Errorf("the undo was done again as %s", id)
	}
}

func id26(n uint64) string { return optest.Operation(n).GetId() }

// TestAbortPastThePointOfReturn is refused, and the progress says so.
func TestAbortPastThePointOfReturn(t *testing.T) {
	t.Parallel()
	begun, release, once := make(chan struct{}), make(chan struct{}), sync.Once{}
	b := start(t, t.TempDir(), Step{Name: "final", Percent: 10, Final: true, Do: nothing, Undo: func(context.Context, Run) error {
		t.Error("a final step was undone")
		return nil
	}}, do(func(context.Context, Run) error { once.Do(func() { close(begun) }); <-release; return nil }))
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	<-begun
	for _, abort := range []func() error{
		func() error { _, err := b.Abort("", "local root"); return err },
		func() error { return b.submit(abortOf(2, id26(1))) },
	} {
		if err := abort(); refusal(err) != precondition || !strings.Contains(err.Error(), "past its point of return") {
			t.Errorf("abort = %v", err)
		}
	}
	if b.current.live.snapshot().GetAbortable() {
		t.Error("the progress promises an abort")
	}
	close(release)
	if end := b.end(""); end.GetState() != succeeded {
		t.Errorf("end = %v", end)
	}
	// The refused abort has not taken its place in the order.
	if err := b.submit(optest.Operation(2)); err != nil {
		t.Errorf("the next operation: %v", err)
	}
	b.end("")
}

// TestFinalStepThatAnAbortCutShort: its check says that it was done by then, so
// nothing is taken back and the operation goes on.
func TestFinalStepThatAnAbortCutShort(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{true, false} {
		step, begun := hanging(nothing)
		step.Final, step.Name = true, "final"
		checks := 0
		step.Check = func(context.Context) (bool, error) { checks++; return done && checks > 1, nil }
		after := false
		b := start(t, t.TempDir(), step, do(func(context.Context, Run) error { after = true; return nil }))
		if err := b.submit(optest.Operation(1)); err != nil {
			t.Fatal(err)
		}
		<-begun
		if err := b.submit(abortOf(2, id26(1))); err != nil {
			t.Fatal(err)
		}
		want, abort := wasAborted, succeeded
		if done {
			want, abort = succeeded, hasFailed
		}
		if end := b.end(id26(1)); end.GetState() != want || after != done {
			t.Errorf("done %v: end = %v, after %v", done, end, after)
		}
		if end := b.end(id26(2)); end.GetState() != abort {
			t.Errorf("done %v: the abort ended as %v", done, end)
		}
	}
}

// TestAbortWhileItIsPlanned ends an operation that has begun nothing.
func TestAbortWhileItIsPlanned(t *testing.T) {
	t.Parallel()
	store, err := journal.Open(filepath.Join(t.TempDir(), "operations"))
	if err != nil {
		t.Fatal(err)
	}
	planning := make(chan struct{})
	b := &bench{t: t, Engine: New(logger(t), store, Options{Plan: func(ctx context.Context, _ *agentv1.Operation, _ []byte) (Plan, error) {
		close(planning)
		<-ctx.Done()
		return Plan{}, ctx.Err()
	}})}
	t.Cleanup(b.Close)
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	<-planning
	if _, err := b.Abort("", "local root"); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetState() != wasAborted {
		t.Errorf("end = %v", end)
	}
}

// TestUndoThatFailsIsConcluded: the operation has failed although it was aborted,
// and the plan words it.
func TestUndoThatFailsIsConcluded(t *testing.T) {
	t.Parallel()
	tries := 0
	step, begun := hanging(func(context.Context, Run) error { tries++; return fmt.Errorf("try %d", tries) })
	step.UndoAttempts = 3
	for _, worded := range []bool{true, false} {
		tries = 0
		plan := Plan{Steps: []Step{step}}
		if worded {
			plan.Conclude = func(_ context.Context, cause error, undone []error) string {
				return fmt.Sprintf("%v / %v", cause, undone)
			}
		}
		b := startPlan(t, t.TempDir(), plan)
		if err := b.submit(optest.Operation(1)); err != nil {
			t.Fatal(err)
		}
		<-begun
		if _, err := b.Abort("", "local root"); err != nil {
			t.Fatal(err)
		}
		want := "aborted by local root / [cannot take back step hang: try 3]"
		if !worded {
			want = "aborted by local root; cannot take back step hang: try 3; put that right on the host, then repave it"
		}
		if end := b.end(""); end.GetState() != hasFailed || end.GetMessage() != want || tries != 3 {
			t.Errorf("end = %v after %d tries", end, tries)
		}
	}
}

// TestLocalOperation needs no sequence, leaves the plane's as it is, is resumed,
// and keeps others out.
func TestLocalOperation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, dir, do(nothing))
	if err := b.submit(optest.Operation(5)); err != nil {
		t.Fatal(err)
	}
	b.end("")
	b.Close()
	step, begun := hanging(nothing)
	b = start(t, dir, step)
	local := optest.Operation(9)
	local.Sequence = nil
	if err := b.SubmitLocal(abortOf(2, id26(5))); refusal(err) != malformed {
		t.Errorf("a local operation of kind abort: %v", err)
	}
	for range 2 {
		if err := b.SubmitLocal(local); err != nil {
			t.Fatal(err)
		}
	}
	<-begun
	if err := b.submit(optest.Operation(6)); refusal(err) != busy {
		t.Errorf("an operation beside a local one: %v", err)
	}
	b.Close()
	if err := os.Remove(filepath.Join(dir, "operations", local.GetId()+".journal")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "operations", local.GetId()+".journal"), "damaged")
	step.Do = nothing
	b = start(t, dir, step)
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetOperationId() != local.GetId() || end.GetState() != succeeded {
		t.Errorf("end = %v", end)
	}
	if err := b.submit(optest.Operation(5)); err != nil {
		t.Errorf("the plane's last operation again: %v", err)
	}
	b.Close()
	write(t, filepath.Join(dir, "operations", "sequence"), "damaged")
	b = start(t, dir, step)
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetOperationId() != local.GetId() {
		t.Errorf("by the journals the last operation is %v", end)
	}
	if err := b.submit(optest.Operation(4)); refusal(err) != stale {
		t.Errorf("an old operation after the sequence was damaged: %v", err)
	}
	if err := b.submit(optest.Operation(6)); err != nil {
		t.Errorf("the plane's next operation: %v", err)
	}
	b.end("")
	second := optest.Operation(2)
	second.Sequence = nil
	if err := b.SubmitLocal(second); err != nil {
		t.Fatal(err)
	}
	b.end("")
	b.Close()
	write(t, filepath.Join(dir, "operations", "sequence"), "damaged")
	b = start(t, dir, step)
	if end := b.end(""); end.GetOperationId() != second.GetId() {
		t.Errorf("by the journals the last operation is %v", end)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newer makes a journal one that a newer version wrote.
func newer(t *testing.T, dir, id string) {
	t.Helper()
	body := fmt.Sprintf(`{"schema":%d,"kind":"accepted","operation":{}}`, journal.Schema+1)
	write(t, filepath.Join(dir, "operations", id+".journal"), fmt.Sprintf("%08x %s\n", crc32.ChecksumIEEE([]byte(body)), body))
}
