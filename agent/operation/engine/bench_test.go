package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// BenchmarkResume is a new process until the step that was cut short is under way
// again, over a folder of twenty operations with fifty records each.
func BenchmarkResume(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "operations")
	store, err := journal.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	for n := uint64(1); n <= 20; n++ {
		fillJournal(b, store, n, n < 20)
	}
	for b.Loop() {
		resumeOnce(b, dir)
	}
}

func fillJournal(b *testing.B, store *journal.Store, n uint64, ended bool) {
	op := optest.Operation(n)
	signed := encoded(b, op)
	if err := store.SetSequence(journal.Sequence{Epoch: 1, Counter: n, ID: op.GetId(), Running: op.GetId()}); err != nil {
		b.Fatal(err)
	}
	j, err := store.Create(op.GetId(), signed, journalled(op, signed), time.Now())
	if err != nil {
		b.Fatal(err)
	}
	for i := range 24 {
		for _, kind := range []journal.Kind{journal.Intent, journal.Done} {
			if err := j.Append(journal.Record{Kind: kind, Step: fmt.Sprint("step-", i), Attempt: 1, At: time.Now()}); err != nil {
				b.Fatal(err)
			}
		}
	}
	if !ended {
		return
	}
	if err := j.End(journal.Always, journal.Record{Kind: journal.Ended, Success: true, At: time.Now()}); err != nil {
		b.Fatal(err)
	}
}

func resumeOnce(b *testing.B, dir string) {
	begun := make(chan struct{}, 1)
	store, err := journal.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	e := New(zap.NewNop(), store, Options{Plan: func(context.Context, *agentv1.Operation, []byte) (Plan, error) {
		return Plan{Steps: []Step{{Name: "cut-short", Do: func(ctx context.Context, _ Run) error {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}}}}, nil
	}})
	if err := e.Resume(); err != nil {
		b.Fatal(err)
	}
	<-begun
	b.StopTimer()
	e.Close()
	b.StartTimer()
}
