package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

const running = agentv1.OperationState_OPERATION_STATE_RUNNING

// events are what happened, in order.
type events struct {
	mutex sync.Mutex
	list  []string
}

func (e *events) add(text string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.list = append(e.list, text)
}

func (e *events) text() string {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return strings.Join(e.list, ", ")
}

// interrupted leaves an operation on disk whose step run was under way, behind
// a step that must be done again.
func interrupted(t *testing.T, happened *events, again func() error) (dir string, steps []Step) {
	t.Helper()
	dir = t.TempDir()
	begun := make(chan struct{})
	var first sync.Once
	steps = []Step{
		{Name: "always", Always: true, Do: func(context.Context, Run) error {
			if happened.text() == "" {
				return nil
			}
			return again()
		}, Undo: func(context.Context, Run) error { happened.add("undo"); return nil }},
		{Name: "run", Do: func(ctx context.Context, _ Run) error {
			first.Do(func() { close(begun) })
			<-ctx.Done()
			return ctx.Err()
		}},
	}
	b := start(t, dir, steps...)
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	<-begun
	b.Close()
	happened.add("died")
	return dir, steps
}

// stopper fails twice before it stops a run.
func stopper(happened *events) func(context.Context, string) error {
	failures := 2
	return func(_ context.Context, id string) error {
		if failures--; failures >= 0 {
			return errors.New("systemd does not answer")
		}
		happened.add("stop " + strings.TrimPrefix(id, optest.Operation(1).GetId()+"-"))
		return nil
	}
}

// watch follows an operation to its end and notes what it said on the way.
func watch(t *testing.T, b *bench, happened *events) *agentv1.OperationProgress {
	t.Helper()
	var last *agentv1.OperationProgress
	if err := b.Follow(t.Context(), "", func(p *agentv1.OperationProgress) error {
		last = p
		if p.GetState() == hasFailed {
			happened.add("failed")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return last
}

// TestResumeThatFailsStopsTheRun: a step before the one that was under way fails
// when the operation is taken up again. What is still running is stopped before
// anything is undone and before the failure is told.
func TestResumeThatFailsStopsTheRun(t *testing.T) {
	happened := &events{}
	dir, steps := interrupted(t, happened, func() error { return &Permanent{errors.New("wrong input")} })
	b := startWith(t, dir, stopper(happened), steps...)
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	if end := watch(t, b, happened); end.GetState() != hasFailed || end.GetMessage() != "wrong input" {
		t.Errorf("end = %v", end)
	}
	if got := happened.text(); got != "died, stop run-1, stop always-1, undo, failed" {
		t.Errorf("happened: %s", got)
	}
}

// TestOperationThatCannotBeResumedStopsTheRun: its bytes are gone.
func TestOperationThatCannotBeResumedStopsTheRun(t *testing.T) {
	happened := &events{}
	dir, steps := interrupted(t, happened, func() error { t.Error("a step was done"); return nil })
	if err := os.Remove(filepath.Join(dir, "operations", optest.Operation(1).GetId()+".operation")); err != nil {
		t.Fatal(err)
	}
	b := startWith(t, dir, stopper(happened), steps...)
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	if end := watch(t, b, happened); end.GetState() != hasFailed || !strings.Contains(end.GetMessage(), "cannot be resumed") {
		t.Errorf("end = %v", end)
	}
	if got := happened.text(); got != "died, stop run-1, undo, failed" {
		t.Errorf("happened: %s", got)
	}
}

// TestBusyWhileARunCannotBeStopped checks that the operation runs on, and says
// why, while something of it may be at work.
func TestBusyWhileARunCannotBeStopped(t *testing.T) {
	happened := &events{}
	dir, steps := interrupted(t, happened, func() error { return &Permanent{errors.New("wrong input")} })
	b := startWith(t, dir, func(context.Context, string) error { return errors.New("systemd does not answer") }, steps...)
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	seen := errors.New("seen")
	err := b.Follow(t.Context(), "", func(p *agentv1.OperationProgress) error {
		if p.GetState() == running && strings.Contains(p.GetMessage(), "cannot end the operation yet: cannot stop") {
			return seen
		}
		return nil
	})
	if !errors.Is(err, seen) || !b.Busy() {
		t.Errorf("Follow = %v, busy %v", err, b.Busy())
	}
	if err := b.submit(optest.Operation(2)); refusal(err) != busy {
		t.Errorf("a second operation: %v", err)
	}
}

// TestResultThatCannotBeKept takes the journal away just before the end: nobody
// is told of an end before it is on disk, and the steps are not done again.
func TestResultThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	store, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, optest.Operation(1).GetId()+".journal")
	var hide sync.Once
	store.SetSeam(journal.Seam{After: func(journal.Record) {}, Before: func(record journal.Record) {
		if record.Kind == journal.Ended {
			hide.Do(func() {
				if err := os.Rename(path, path+".hidden"); err != nil {
					t.Error(err)
				}
			})
		}
	}})
	runs := 0
	step := do(func(context.Context, Run) error { runs++; return nil })
	e := New(zaptest.NewLogger(t), store, Options{RetryPause: time.Millisecond, Plan: planOf(step)})
	defer e.Close()
	b := &bench{Engine: e, t: t}
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	seen := errors.New("seen")
	err = b.Follow(t.Context(), "", func(p *agentv1.OperationProgress) error {
		if strings.Contains(p.GetMessage(), "cannot end the operation yet: cannot journal ended") && strings.Contains(p.GetMessage(), "free space") {
			return seen
		}
		return nil
	})
	if !errors.Is(err, seen) || !b.Busy() {
		t.Errorf("Follow = %v, busy %v", err, b.Busy())
	}
	if err := os.Rename(path+".hidden", path); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetState() != succeeded || end.GetMessage() != "every step was done" || runs != 1 {
		t.Errorf("end = %v after %d runs", end, runs)
	}
	j, err := store.Peek(optest.Operation(1).GetId())
	if err != nil {
		t.Fatal(err)
	}
	if result, ended := j.Result(); !ended || !result.Success {
		t.Errorf("on disk: %+v, %v", result, ended)
	}
}
