package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	"hybridagent/agent/store"
	"hybridagent/agent/store/powercut"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// life is a host's life in operations: what is recorded, and what is promised
// along the way.
type life struct {
	t       *testing.T
	dir     string
	disk    *powercut.Recorder
	engine  *Engine
	begun   chan string
	release chan struct{}
	// marked holds back what follows an answer until the answer is marked: else
	// the mark would count for later writes.
	marked chan struct{}
}

// lifePlan is the plan of an operation of the life: a script, but a step with ^
// hangs until it is released or cancelled.
func lifePlan(id string) []script {
	plans := map[uint64]string{1: "a b", 2: "a b^ c", 3: "a b^", 5: "a b<? c!", 6: "a* b^ c", 7: "a. b!"}
	return parseScript(plans[number(id)])
}

func recordLife(t *testing.T, restarts bool) *life {
	t.Helper()
	l := &life{t: t, dir: filepath.Join(t.TempDir(), "operations"), disk: recorder(t), begun: make(chan string, 8), release: make(chan struct{}, 8), marked: make(chan struct{}, 8)}
	l.process()
	l.submit(1, false)
	l.told(1)
	// Aborted from the host itself.
	l.submit(2, false)
	<-l.begun
	if _, err := l.engine.Abort("", "local root"); err != nil {
		t.Fatal(err)
	}
	l.mark("abort " + id26(2) + " by local root")
	l.told(2)
	// Aborted by the plane.
	l.submit(3, false)
	<-l.begun
	abort := abortOf(4, id26(3))
	if err := l.engine.Submit(abort, encoded(t, abort)); err != nil {
		t.Fatal(err)
	}
	l.mark("abort " + id26(3) + " by " + id26(4))
	l.told(3)
	l.submit(5, false)
	l.told(5)
	// Of local root, over a restart: that journals the intents of tries once more,
	// which nobody misses.
	l.submit(6, true)
	<-l.begun
	if restarts {
		l.marked <- struct{}{}
		l.engine.Close()
		l.process()
		if err := l.engine.Resume(); err != nil {
			t.Fatal(err)
		}
		<-l.begun
	}
	l.release <- struct{}{}
	l.told(6)
	l.submit(7, false)
	l.told(7)
	l.engine.Close()
	return l
}

func recorder(t *testing.T, dirs ...string) *powercut.Recorder {
	t.Helper()
	r, err := powercut.NewRecorder(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func encoded(t testing.TB, op *agentv1.Operation) []byte {
	t.Helper()
	signed, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func lifeOperation(n uint64, local bool) *agentv1.Operation {
	op := optest.Operation(n)
	if local {
		op.Sequence = nil
	}
	return op
}

// process starts the engine anew on the recorded disk.
func (l *life) process() {
	journals, err := journal.OpenOn(l.dir, store.On(l.disk))
	if err != nil {
		l.t.Fatal(err)
	}
	l.engine = New(zap.NewNop(), journals, Options{RetryPause: time.Microsecond, Plan: l.plan})
}

func (l *life) submit(n uint64, local bool) {
	op := lifeOperation(n, local)
	submit := func() error { return l.engine.Submit(op, encoded(l.t, op)) }
	if local {
		submit = func() error { return l.engine.SubmitLocal(op) }
	}
	if err := submit(); err != nil {
		l.t.Fatal(err)
	}
	l.mark("answered " + op.GetId())
}

// mark notes an answer and lets go what waits for it.
func (l *life) mark(text string) {
	l.disk.Mark(text)
	l.marked <- struct{}{}
}

// told waits for the end as a follower is told it.
func (l *life) told(n uint64) {
	err := l.engine.Follow(l.t.Context(), id26(n), func(p *agentv1.OperationProgress) error {
		if operation.Ended(p.GetState()) {
			l.disk.Mark("told " + p.GetOperationId() + " " + operation.StateName(p.GetState()))
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// plan plays the script of an operation; each effect is marked before it happens.
func (l *life) plan(_ context.Context, op *agentv1.Operation, kept []byte) (Plan, error) {
	if kept == nil {
		<-l.marked
	}
	mark := func(word string, s script, run Run) {
		l.disk.Mark(fmt.Sprintf("%s %s %s %d", word, op.GetId(), s.name, run.Attempt))
	}
	plan := Plan{Kept: []byte("kept " + op.GetId())}
	for _, s := range lifePlan(op.GetId()) {
		tries := 0
		plan.Steps = append(plan.Steps, Step{Name: s.name, Always: s.has("*"), Final: s.has("."), UndoAttempts: 2,
			Do: func(ctx context.Context, run Run) error {
				mark("do", s, run)
				return l.effect(ctx, s)
			},
			Undo: func(_ context.Context, run Run) error {
				mark("undo", s, run)
				if tries++; s.undo == "?" && tries == 1 {
					return errors.New("not yet")
				}
				return nil
			}})
	}
	return plan, nil
}

func (l *life) effect(ctx context.Context, s script) error {
	if s.has("!") {
		return &Permanent{errors.New("broken")}
	}
	if !s.has("^") {
		return nil
	}
	l.begun <- s.name
	select {
	case <-ctx.Done():
		<-l.marked
		return ctx.Err()
	case <-l.release:
		return nil
	}
}

// number is n of optest.Operation(n).
func number(id string) (n uint64) {
	_, _ = fmt.Sscanf(strings.TrimLeft(id, "0"), "%d", &n)
	return n
}
