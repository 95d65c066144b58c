package engine

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// A script is a plan in one line. Each word is a step: its name and what is
// peculiar about it. Every step can be undone.
//
//	a      is done
//	a!     fails for good
//	a?     fails at the first try and is done at the second
//	a~     does not end before its deadline
//	a^     an abort comes while it is under way
//	a$     an abort comes while it is under way, and it is done all the same
//	a%     the process dies while it is under way, the first time
//	a*     is done again after each restart
//	a.     is final, and its check tells whether it was done
//	a=     has been done before, as its check says
//	a-     cannot be undone
//	a<!    its undo fails for good
//	a<?    its undo fails at the first try
//	a<%    the process dies while it is undone, the first time
//
// A trail tells what came of it: "a" did a, "a!" failed, "a%" was cut short; "<a",
// "<a!" and "<a%" are of its undo; the last word is how the operation ended.
type script struct {
	name  string
	marks string
	undo  string
}

func parseScript(text string) []script {
	var steps []script
	for _, word := range strings.Fields(text) {
		forward, undo, _ := strings.Cut(word, "<")
		name := strings.TrimRight(forward, "!?~^$%*.=-")
		steps = append(steps, script{name: name, marks: forward[len(name):], undo: undo})
	}
	return steps
}

func (s script) has(mark string) bool { return strings.Contains(s.marks, mark) }

// theater runs a script, in as many processes as it needs.
type theater struct {
	t      testing.TB
	dir    string
	script []script
	local  bool
	// lenient lets an abort be refused, as one is past the point of return.
	lenient bool

	mutex  sync.Mutex
	trail  []string
	played map[string]int
	// died is closed when the process under way is to end, current is its engine.
	died    chan struct{}
	current *Engine
	// point counts down to the record at which the process dies; negative: none.
	point atomic.Int64
	// records counts what went to disk.
	records atomic.Int64
}

func newTheater(t testing.TB, text string) *theater {
	th := &theater{t: t, dir: t.TempDir(), script: parseScript(text), played: map[string]int{}}
	th.point.Store(-1)
	return th
}

func (th *theater) add(text string) {
	th.mutex.Lock()
	defer th.mutex.Unlock()
	th.trail = append(th.trail, text)
}

func (th *theater) text() string {
	th.mutex.Lock()
	defer th.mutex.Unlock()
	return strings.Join(th.trail, " ")
}

// began reports whether anything was played.
func (th *theater) began() bool {
	th.mutex.Lock()
	defer th.mutex.Unlock()
	return len(th.played) > 0
}

// did reports whether a step was done.
func (th *theater) did(name string) bool {
	th.mutex.Lock()
	defer th.mutex.Unlock()
	return slices.Contains(th.trail, name)
}

// times counts how often something was played.
func (th *theater) times(what string) int {
	th.mutex.Lock()
	defer th.mutex.Unlock()
	th.played[what]++
	return th.played[what]
}

// die ends the process: whoever calls it waits for its context.
func (th *theater) die(ctx context.Context) error {
	close(th.died)
	<-ctx.Done()
	return ctx.Err()
}

func (th *theater) plan(_ context.Context, _ *agentv1.Operation, kept []byte) (Plan, error) {
	if began := th.began(); began && string(kept) != "the script" || !began && kept != nil && string(kept) != "the script" {
		th.t.Errorf("planned with %q, and something was begun: %v", kept, began)
	}
	plan := Plan{Kept: []byte("the script")}
	for i, s := range th.script {
		plan.Steps = append(plan.Steps, th.step(s, uint32(100*(i+1)/len(th.script))))
	}
	return plan, nil
}

func (th *theater) step(s script, percent uint32) Step {
	step := Step{
		Name: s.name, Percent: percent, Attempts: 2, UndoAttempts: 2, Always: s.has("*"), Final: s.has("."),
		Do:   func(ctx context.Context, _ Run) error { return th.do(ctx, s) },
		Undo: func(ctx context.Context, _ Run) error { return th.undo(ctx, s) },
	}
	if s.has("~") {
		step.Deadline = 5 * time.Millisecond
	}
	if s.has("=") {
		step.Check = func(context.Context) (bool, error) { return true, nil }
	}
	if s.has(".") && step.Check == nil {
		step.Check = func(context.Context) (bool, error) { return th.did(s.name), nil }
	}
	if s.has("-") {
		step.Undo = nil
	}
	return step
}

// do plays a step; a process that dies in it leaves its mark.
func (th *theater) do(ctx context.Context, s script) (err error) {
	mark := "%"
	defer func() { th.add(s.name + mark) }()
	mark, err = th.part(ctx, s)
	return err
}

func (th *theater) part(ctx context.Context, s script) (mark string, err error) {
	time := th.times(s.name)
	switch {
	case s.has("!"):
		return "!", &Permanent{errors.New(s.name + " is broken")}
	case s.has("?") && time == 1:
		return "!", errors.New(s.name + " fails once")
	case s.has("~"):
		<-ctx.Done()
		return "!", ctx.Err()
	case s.has("%") && time == 1:
		return "%", th.die(ctx)
	case s.has("^"), s.has("$"):
		if _, err := th.current.Abort("", "local root"); err != nil {
			if !th.lenient {
				th.t.Errorf("Abort: %v", err)
			}
			return "", nil
		}
		if s.has("$") {
			return "", nil
		}
		<-ctx.Done()
		return "!", ctx.Err()
	}
	return "", nil
}

func (th *theater) undo(ctx context.Context, s script) (err error) {
	mark := "%"
	defer func() { th.add("<" + s.name + mark) }()
	time := th.times("<" + s.name)
	switch {
	case s.undo == "!":
		mark, err = "!", &Permanent{errors.New(s.name + " stays")}
	case s.undo == "?" && time == 1:
		mark, err = "!", errors.New("not yet")
	case s.undo == "%" && time == 1:
		err = th.die(ctx)
	default:
		mark = ""
	}
	return err
}

// seam ends the process at a record, as far as a goroutine can be a process.
func (th *theater) seam() journal.Seam {
	crash := func(journal.Record) {
		if th.point.Add(-1) == -1 {
			close(th.died)
			runtime.Goexit()
		}
	}
	return journal.Seam{Before: crash, After: func(record journal.Record) { th.records.Add(1); crash(record) }}
}

// process starts the engine anew.
func (th *theater) process() {
	store, err := journal.Open(filepath.Join(th.dir, "operations"))
	if err != nil {
		th.t.Fatal(err)
	}
	store.SetSeam(th.seam())
	th.died = make(chan struct{})
	th.current = New(zap.NewNop(), store, Options{RetryPause: time.Microsecond, Plan: th.plan})
}

// submit hands the operation in, until it is answered or the process dies.
func (th *theater) submit() {
	op := optest.Operation(1)
	signed, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		th.t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		// A goroutine that ends at the seam answers nothing.
		if th.local {
			answered <- th.current.SubmitLocal(op)
		} else {
			answered <- th.current.Submit(op, signed)
		}
	}()
	select {
	case err := <-answered:
		if err != nil {
			th.t.Fatalf("Submit: %v", err)
		}
	case <-th.died:
	}
}

// play runs the operation to its end and returns how it ended.
func (th *theater) play() *agentv1.OperationProgress {
	for range 50 {
		th.process()
		if err := th.current.Resume(); err != nil {
			th.t.Fatalf("Resume: %v", err)
		}
		th.submit()
		if end := th.watch(); end != nil {
			th.current.Close()
			th.add(operation.StateName(end.GetState()))
			return end
		}
		th.current.Close()
	}
	th.t.Fatalf("the operation does not end: %s", th.text())
	return nil
}

// watch follows the operation; nil: the process died first.
func (th *theater) watch() *agentv1.OperationProgress {
	ctx, cancel := context.WithCancel(th.t.Context())
	defer cancel()
	died := th.died
	go func() {
		select {
		case <-died:
			cancel()
		case <-ctx.Done():
		}
	}()
	var last *agentv1.OperationProgress
	_ = th.current.Follow(ctx, "", func(p *agentv1.OperationProgress) error { last = p; return nil })
	select {
	case <-died:
		return nil
	default:
	}
	if !operation.Ended(last.GetState()) {
		th.t.Fatalf("followed to no end: %v", last)
	}
	return last
}
