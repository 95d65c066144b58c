package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/journal"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// resumes takes the operation up and checks its end and that the next is taken.
func (l *life) resumes(journals *journal.Store, marks []string) string {
	problem, e := l.takenUp(journals)
	if e == nil {
		return problem
	}
	defer e.Close()
	if problem != "" {
		return problem
	}
	return l.goesOn(e, marks)
}

// takenUp resumes what was under way and brings it to its end.
func (l *life) takenUp(journals *journal.Store) (string, *Engine) {
	place, err := journals.Sequence()
	if err != nil {
		return err.Error(), nil
	}
	actor := &survivor{}
	if j, err := journals.Peek(place.Running); err == nil {
		actor.before = j.Records()
	}
	e := New(zap.NewNop(), journals, Options{RetryPause: time.Microsecond, Plan: actor.plan})
	if err := e.Resume(); err != nil {
		return err.Error(), e
	}
	if e.running() {
		return actor.end(e, place.Running), e
	}
	return "", e
}

// goesOn submits what was answered last, what the plane will send again because
// it was not answered, and something old.
func (l *life) goesOn(e *Engine, marks []string) string {
	answered := uint64(0)
	for _, mark := range marks {
		if word := strings.Fields(mark); word[0] == "answered" && number(word[1]) != 6 {
			answered = number(word[1])
		} else if word[0] == "abort" && word[3] == id26(4) {
			answered = 4
		}
	}
	for n := max(answered, 1); n <= answered+1; n++ {
		op := lifeOperation(n, false)
		if n == 4 || n == 6 {
			// The abort is refused where there is nothing to abort; the sixth is local.
			continue
		}
		if err := e.Submit(op, encoded(l.t, op)); n > answered && err != nil || n == answered && refusal(err) != 0 && refusal(err) != stale {
			return fmt.Sprintf("operation %d, of which %d was answered: %v", n, answered, err)
		}
		_ = e.Follow(l.t.Context(), "", func(*agentv1.OperationProgress) error { return nil })
		if n > 1 {
			older := lifeOperation(n-1, false)
			older.NodeIp = "127.0.0.9"
			if err := e.Submit(older, encoded(l.t, older)); err == nil {
				return fmt.Sprintf("operation %d was taken after %d", n-1, n)
			}
		}
	}
	return ""
}

// survivor performs what is left of an operation, and watches that what was done
// is not done again.
type survivor struct {
	before []journal.Record
	wrong  faults
}

func (s *survivor) plan(_ context.Context, op *agentv1.Operation, kept []byte) (Plan, error) {
	planned := slices.ContainsFunc(s.before, func(r journal.Record) bool { return r.Kind == journal.Planned })
	if planned != (kept != nil) || planned && string(kept) != "kept "+op.GetId() {
		s.wrong.Errorf("planned before: %v, and the planner is given %q", planned, kept)
	}
	before := s.before
	plan := Plan{Kept: []byte("kept " + op.GetId())}
	_, turned := journal.Turn(before)
	for _, sc := range lifePlan(op.GetId()) {
		was := func(kind journal.Kind) bool {
			return slices.ContainsFunc(before, func(r journal.Record) bool { return r.Kind == kind && r.Step == sc.name })
		}
		plan.Steps = append(plan.Steps, Step{Name: sc.name, Always: sc.has("*"), Final: sc.has("."),
			Do: func(context.Context, Run) error {
				if turned || was(journal.Done) && !sc.has("*") {
					s.wrong.Errorf("step %s was done again", sc.name)
				}
				if sc.has("!") {
					return &Permanent{errors.New("broken")}
				}
				return nil
			},
			Undo: func(context.Context, Run) error {
				if was(journal.Undone) || turned && !was(journal.Intent) {
					s.wrong.Errorf("step %s was undone again, or without having begun", sc.name)
				}
				return nil
			}})
	}
	return plan, nil
}

// end waits for the end and checks it against what the journal said.
func (s *survivor) end(e *Engine, id string) string {
	var end *agentv1.OperationProgress
	if err := e.Follow(context.Background(), id, func(p *agentv1.OperationProgress) error { end = p; return nil }); err != nil {
		return err.Error()
	}
	s.before = nil
	if len(s.wrong) > 0 {
		return s.wrong[0]
	}
	broken := slices.ContainsFunc(lifePlan(id), func(s script) bool { return s.has("!") })
	j := e.current.journal
	turn, turned := journal.Turn(j.Records())
	want := succeeded
	switch {
	case turned && turn.Kind == journal.Abort:
		want = wasAborted
	case broken:
		want = hasFailed
	}
	if end.GetState() != want {
		return fmt.Sprintf("operation %s ended as %v, want %v", id, end, want)
	}
	return ""
}
