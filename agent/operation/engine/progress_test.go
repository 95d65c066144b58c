package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestProgressInsideAStep follows time without reaching the step's end, and tells
// when the operation will have ended; the next operation knows how long it took.
func TestProgressInsideAStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		slow := Step{Name: "slow", What: "takes its time", Percent: 80, Expected: 40 * time.Second, Do: func(context.Context, Run) error {
			time.Sleep(100 * time.Second)
			return nil
		}}
		quick := Step{Name: "quick", Percent: 20, Expected: 4 * time.Second, Do: func(context.Context, Run) error {
			time.Sleep(2 * time.Second)
			return nil
		}}
		last := Step{Name: "last", Percent: 100, Expected: 10 * time.Second, Do: nothing}
		plan := Plan{Forecast: &agentv1.Forecast{Path: "upgrade"}, Steps: []Step{quick, slow, last}}
		b := startPlan(t, dir, plan)
		began := time.Now()
		if err := b.submit(optest.Operation(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		at := func(when time.Duration, percent uint32, end time.Duration) {
			t.Helper()
			time.Sleep(time.Until(began.Add(when)))
			synctest.Wait()
			p := b.current.live.snapshot()
			if p.GetPercent() != percent || p.GetEstimatedEndAt().AsTime().Sub(began) != end || !p.GetAbortable() {
				t.Errorf("after %s: %d%%, end after %s, abortable %v; want %d%%, %s", when, p.GetPercent(), p.GetEstimatedEndAt().AsTime().Sub(began), p.GetAbortable(), percent, end)
			}
		}
		at(1500*time.Millisecond, 5, 54*time.Second)
		at(12500*time.Millisecond, 35, 54*time.Second)
		at(32500*time.Millisecond, 65, 54*time.Second)
		at(90500*time.Millisecond, 79, 99*time.Second)
		if p := b.current.live.snapshot(); len(p.GetForecast().GetSteps()) != 3 || p.GetForecast().GetPath() != "upgrade" ||
			p.GetForecast().GetSteps()[1].GetWhat() != "takes its time" || p.GetForecast().GetDuration().AsDuration() != 54*time.Second {
			t.Errorf("forecast = %v", p.GetForecast())
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if p := b.current.live.snapshot(); p.GetPercent() != 100 || p.GetEstimatedEndAt() != nil {
			t.Errorf("at the end: %v", p)
		}
		b.Close()
		b = startPlan(t, dir, plan)
		if took := b.Expected(slow); took.Round(time.Second) != 100*time.Second {
			t.Errorf("slow is expected to take %s", took)
		}
		if past := b.end(""); past.GetForecast().GetPath() != "upgrade" || len(past.GetForecast().GetSteps()) != 3 {
			t.Errorf("the journal tells %v", past)
		}
		b.Close()
	})
}

// TestPercentWithin never reaches the end of a step, nor leaves it backwards.
func TestPercentWithin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, end         uint32
		elapsed, expected time.Duration
		want              uint32
	}{
		{10, 50, 0, time.Minute, 10}, {10, 50, 30 * time.Second, time.Minute, 30},
		{10, 50, time.Minute, time.Minute, 49}, {10, 50, time.Hour, time.Minute, 49},
		{10, 50, time.Hour, 0, 10}, {50, 50, time.Hour, time.Minute, 50}, {60, 50, time.Hour, time.Minute, 60},
		{10, 11, time.Hour, time.Minute, 10}, {10, 50, -time.Hour, time.Minute, 10},
	} {
		if got := percentWithin(c.from, c.end, c.elapsed, c.expected); got != c.want {
			t.Errorf("percentWithin(%d, %d, %s, %s) = %d, want %d", c.from, c.end, c.elapsed, c.expected, got, c.want)
		}
	}
}

// TestDefaultDeadline is an hour for a repave and a quarter of one for the others.
func TestDefaultDeadline(t *testing.T) {
	t.Parallel()
	for kind, want := range map[agentv1.OperationKind]time.Duration{
		agentv1.OperationKind_OPERATION_KIND_PROVISION:   15 * time.Minute,
		agentv1.OperationKind_OPERATION_KIND_RECONFIGURE: 15 * time.Minute,
		agentv1.OperationKind_OPERATION_KIND_LEAVE:       time.Hour,
		agentv1.OperationKind_OPERATION_KIND_REPAVE:      time.Hour,
	} {
		synctest.Test(t, func(t *testing.T) {
			step, begun := hanging(nil)
			step.Undo = func(ctx context.Context, _ Run) error {
				// The operation's deadline has passed; the undo has time of its own.
				if ctx.Err() != nil {
					t.Error("the undo has no time")
				}
				return nil
			}
			b := start(t, t.TempDir(), step)
			op := optest.Operation(1)
			op.Kind = kind
			began := time.Now()
			if err := b.submit(op); err != nil {
				t.Fatal(err)
			}
			<-begun
			end := b.end("")
			if took := time.Since(began); took.Round(time.Second) != want || end.GetState() != hasFailed || !strings.Contains(end.GetMessage(), "the operation's deadline of "+want.String()) {
				t.Errorf("%v ended after %s: %v", kind, took, end)
			}
			b.Close()
		})
	}
}

// TestUndoDeadline ends a try of an undo, and the run that it left.
func TestUndoDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		step := Step{Name: "a", Do: func(context.Context, Run) error { return &Permanent{errors.New("no")} },
			UndoAttempts: 2, UndoDeadline: 7 * time.Minute,
			Undo: func(ctx context.Context, run Run) error {
				if tries++; tries == 2 {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}}
		var stopped []string
		b := startWith(t, t.TempDir(), func(_ context.Context, id string) error {
			stopped = append(stopped, strings.TrimPrefix(id, id26(1)))
			return nil
		}, step)
		began := time.Now()
		if err := b.submit(optest.Operation(1)); err != nil {
			t.Fatal(err)
		}
		if end := b.end(""); end.GetState() != hasFailed || end.GetMessage() != "no" {
			t.Errorf("end = %v", end)
		}
		if took := time.Since(began); took.Round(time.Minute) != 7*time.Minute || strings.Join(stopped, " ") != "-a-1 -a-u1" {
			t.Errorf("ended after %s, stopped %v", took, stopped)
		}
		b.Close()
	})
}

// TestKeptPlanIsBounded fails an operation whose plan is too large to be kept.
func TestKeptPlanIsBounded(t *testing.T) {
	t.Parallel()
	ran := false
	b := startPlan(t, t.TempDir(), Plan{Kept: make([]byte, journal.MaxKept+1), Steps: []Step{do(func(context.Context, Run) error { ran = true; return nil })}})
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetState() != hasFailed || ran || !strings.Contains(end.GetMessage(), "cannot keep a plan of 32769 bytes") {
		t.Errorf("end = %v, ran %v", end, ran)
	}
	forecast := &agentv1.Forecast{Duration: durationpb.New(time.Hour), Steps: []*agentv1.ForecastStep{{Name: "mine"}}}
	b = startPlan(t, t.TempDir(), Plan{Kept: make([]byte, journal.MaxKept), Forecast: forecast, Steps: []Step{do(nothing)}})
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetState() != succeeded || end.GetForecast().GetSteps()[0].GetName() != "mine" || end.GetForecast().GetDuration().AsDuration() != time.Hour {
		t.Errorf("end = %v", end)
	}
}

// TestNothingBeginsBesideANewerJournal: what a newer version began may be at work.
func TestNothingBeginsBesideANewerJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, dir, do(nothing))
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	b.end("")
	b.Close()
	newer(t, dir, id26(1))
	b = start(t, dir, do(nothing))
	if err := b.Resume(); err == nil || !strings.Contains(err.Error(), id26(1)) {
		t.Errorf("Resume = %v", err)
	}
	local := optest.Operation(3)
	local.Sequence = nil
	for _, err := range []error{b.submit(optest.Operation(2)), b.SubmitLocal(local)} {
		if refusal(err) != precondition || !strings.Contains(err.Error(), "install the version that wrote it") {
			t.Errorf("an operation beside it: %v", err)
		}
	}
}
