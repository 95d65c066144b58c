package netcfg

import (
	"strings"
	"testing"
	"time"
)

// trialBegan is any time: tables count from it.
func trialBegan() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func TestTrialJudge(t *testing.T) {
	t.Parallel()
	const (
		down, partly, healthy, none = GradeDown, GradePartial, GradeHealthy, GradeUnknown
		yes, no                     = true, false
	)
	cases := map[string]struct {
		before PathGrade
		first  bool

		after    time.Duration
		plane    bool
		path     PathGrade
		measured bool
		rounds   int

		want Decision
		why  string
	}{
		"nothing known yet":               {healthy, no, 1, no, none, no, 0, DecisionWait, "the management plane has not answered on a new connection, and the path to the VPC has not been measured on the new routes so far; the network from before returns in 44s"},
		"both as early as they are there": {healthy, no, 3, yes, healthy, yes, 1, DecisionConfirm, "the management plane answered on a new connection, and the path to the VPC is healthy, before it was healthy"},
		"better than before":              {down, no, 3, yes, partly, yes, 1, DecisionConfirm, "partly up, before it was down"},
		"as bad as before":                {down, no, 3, yes, down, yes, 1, DecisionConfirm, "down, before it was down"},
		"a black hole, the plane fine":    {healthy, no, 44, yes, down, yes, 20, DecisionWait, "the path to the VPC is down, before it was healthy so far; the network from before returns in 1s"},
		"the black hole at the deadline":  {healthy, no, 45, yes, down, yes, 20, DecisionRollback, "by the end of the trial the path to the VPC is down, before it was healthy"},
		"a little worse":                  {healthy, no, 45, yes, partly, yes, 20, DecisionRollback, "partly up, before it was healthy"},
		"the plane is lost":               {healthy, no, 45, no, healthy, yes, 20, DecisionRollback, "by the end of the trial the management plane has not answered on a new connection"},
		"the path is not measured":        {healthy, no, 20, yes, none, no, 0, DecisionWait, "has not been measured"},
		"nor at the deadline":             {healthy, no, 45, yes, none, no, 0, DecisionRollback, "has not been measured on the new routes"},
		"an old grade, not measured":      {healthy, no, 20, yes, healthy, no, 0, DecisionWait, "has not been measured"},
		"nothing is to be probed now":     {healthy, no, 2, yes, none, yes, 1, DecisionConfirm, "nothing in the VPC is given to be probed"},
		"nothing was before":              {none, no, 2, yes, down, yes, 1, DecisionConfirm, "the path to the VPC is down"},
		"nor now, and no plane":           {none, no, 45, no, none, yes, 1, DecisionRollback, "management plane has not answered"},
		"cut off":                         {healthy, no, 20, no, down, yes, 6, DecisionRollback, "after 6 rounds of probes the management plane has not answered"},
		"cut off, still early":            {healthy, no, 20, no, down, yes, 5, DecisionWait, ""},
		"partly cut off":                  {healthy, no, 20, no, partly, yes, 20, DecisionWait, ""},
		"the VPC was down before":         {down, no, 20, no, down, yes, 20, DecisionWait, ""},
		"the first network, a black hole": {none, yes, 20, yes, down, yes, 20, DecisionConfirm, "down"},
		"the first network, plane gone":   {none, yes, 44, no, down, yes, 20, DecisionWait, ""},
		"and at the deadline":             {none, yes, 45, no, down, yes, 20, DecisionRollback, "management plane has not answered"},
		"first, by the gateway healthy":   {healthy, yes, 20, no, down, yes, 20, DecisionWait, ""},
		"both, but late":                  {healthy, no, 3600, yes, healthy, yes, 9, DecisionConfirm, "healthy"},
		"a clock that went back":          {healthy, no, -10, no, healthy, yes, 9, DecisionRollback, "the clock went back"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trial := Trial{Before: c.before, Began: trialBegan(), First: c.first}
			e := Evidence{Now: trialBegan().Add(c.after * time.Second), PlaneAnswered: c.plane, Path: c.path, PathMeasured: c.measured, Rounds: c.rounds}
			got, why := trial.Judge(e)
			if got != c.want || why == "" || !strings.Contains(why, c.why) {
				t.Errorf("%s: %s, want %s", got, why, c.want)
			}
			trial.Deadline = trialBegan().Add(TrialLength)
			if again, same := trial.Judge(e); again != got || same != why {
				t.Errorf("with its deadline written out %s: %s", again, same)
			}
		})
	}
}

// TestTrialKeepsItsPromises goes through every combination: there are few enough.
func TestTrialKeepsItsPromises(t *testing.T) {
	t.Parallel()
	both, seconds := []bool{false, true}, []int{-5, 0, 20, 30, 44, 45, 46, 300}
	for before := GradeUnknown; before <= GradeHealthy; before++ {
		for path := GradeUnknown; path <= GradeHealthy; path++ {
			for _, first := range both {
				for _, plane := range both {
					for _, measured := range both {
						for _, rounds := range []int{0, 5, 6, 20} {
							for _, now := range seconds {
								for _, deadline := range []int{0, 30, 45} {
									trial := Trial{Before: before, Began: trialBegan(), First: first}
									if deadline > 0 {
										trial.Deadline = trialBegan().Add(time.Duration(deadline) * time.Second)
									}
									checkJudgement(t, trial, Evidence{
										Now: trialBegan().Add(time.Duration(now) * time.Second), PlaneAnswered: plane,
										Path: path, PathMeasured: measured, Rounds: rounds,
									})
								}
							}
						}
					}
				}
			}
		}
	}
}

// checkJudgement: confirmed exactly where the plane answered and the measured path
// is no worse, decided by the deadline, given up early only when cut off.
func checkJudgement(t *testing.T, trial Trial, e Evidence) {
	t.Helper()
	decision, why := trial.Judge(e)
	end := trial.Began.Add(45 * time.Second)
	if !trial.Deadline.IsZero() {
		end = trial.Deadline
	}
	worse := e.Path != GradeUnknown && e.Path < trial.Before
	good := e.PlaneAnswered && e.PathMeasured && !worse
	cutOff := !e.PlaneAnswered && e.PathMeasured && e.Path == GradeDown && worse
	running := e.Now.Before(end) && !e.Now.Before(trial.Began)
	switch {
	case why == "":
		t.Errorf("%+v, %+v: no reason", trial, e)
	case (decision == DecisionConfirm) != good:
		t.Errorf("%+v, %+v: %s: %s", trial, e, decision, why)
	case decision == DecisionWait && !running:
		t.Errorf("%+v, %+v: not decided: %s", trial, e, why)
	case decision == DecisionRollback && running && !cutOff:
		t.Errorf("%+v, %+v: given up early: %s", trial, e, why)
	}
}

func TestMayBegin(t *testing.T) {
	t.Parallel()
	const yes, no = true, false
	for name, c := range map[string]struct {
		first, plane bool
		path         PathGrade
		measured     bool
		waited       time.Duration
		ok, wait     bool
		why          string
	}{
		"the first, without anything":      {yes, no, GradeUnknown, no, 0, yes, no, "no route"},
		"plane and path are known":         {no, yes, GradeHealthy, yes, 0, yes, no, "healthy"},
		"the path is down":                 {no, yes, GradeDown, yes, 0, yes, no, "down"},
		"nothing is to be probed":          {no, yes, GradeUnknown, yes, 0, yes, no, "nothing in the VPC"},
		"the plane is out of reach":        {no, no, GradeHealthy, yes, time.Hour, no, yes, "waits until it does"},
		"the path is not measured yet":     {no, yes, GradeUnknown, no, MeasureWait - 1, no, yes, "being measured"},
		"a grade from before":              {no, yes, GradeHealthy, no, 0, no, yes, "being measured"},
		"the path will not be measured":    {no, yes, GradeUnknown, no, MeasureWait, no, no, "could not be measured within 1m0s"},
		"neither plane nor path, for long": {no, no, GradeUnknown, no, time.Hour, no, yes, "management plane does not answer"},
	} {
		ok, wait, why := MayBegin(c.first, c.plane, c.path, c.measured, c.waited)
		if ok != c.ok || wait != c.wait || !strings.Contains(why, c.why) {
			t.Errorf("%s: %v, %v, %s", name, ok, wait, why)
		}
	}
}
