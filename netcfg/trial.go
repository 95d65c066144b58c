package netcfg

import (
	"fmt"
	"time"
)

// Times of a trial. A change that cuts the host off is taken back after TrialLength;
// with a boot in between, the former network is back within 90 s of its end.
const (
	// TrialLength is how long a trial lasts at most where nobody says otherwise.
	TrialLength = 45 * time.Second
	// MeasureWait is how long the beginning of a trial waits for the path to be
	// measured as it was before.
	MeasureWait = 60 * time.Second
	// hopelessRounds is how many rounds of probes without any answer end a trial
	// early: ARP, a tunnel that is set up on demand and routes that the far side
	// still learns are over by then, or take longer than the trial.
	hopelessRounds = 6
)

// PathGrade says how good the path to the VPC is; a higher one is better, and
// GradeUnknown is not comparable.
type PathGrade int

// Grades of a path.
const (
	// GradeUnknown: nothing is to be probed, or nothing was yet.
	GradeUnknown PathGrade = iota
	// GradeDown: nothing in the VPC answers.
	GradeDown
	// GradePartial: some of what was probed answers.
	GradePartial
	// GradeHealthy: the VPC answers.
	GradeHealthy
)

// String gives the grade in a word.
func (g PathGrade) String() string {
	switch g {
	case GradeDown:
		return "down"
	case GradePartial:
		return "partly up"
	case GradeHealthy:
		return "healthy"
	}
	return "not known"
}

// Decision is what becomes of a trial.
type Decision int

// Decisions.
const (
	// DecisionWait: ask again with the next evidence, at the deadline at the latest.
	DecisionWait Decision = iota
	// DecisionConfirm: the new network stays.
	DecisionConfirm
	// DecisionRollback: the last confirmed network returns.
	DecisionRollback
)

// String gives the decision in a word.
func (d Decision) String() string {
	switch d {
	case DecisionConfirm:
		return "confirm"
	case DecisionRollback:
		return "roll back"
	}
	return "wait"
}

// Trial is a change of the network that is in the kernel and not confirmed. It
// decides nothing by itself: whoever runs it brings evidence to Judge. A trial that
// is found on disk at the start of the daemon is not judged but rolled back.
type Trial struct {
	// Before is how good the path was by the network from before. GradeUnknown:
	// nothing was to be probed, so that no path can be worse.
	Before PathGrade
	// Began and Deadline are by the clock of Evidence.Now. A zero Deadline is
	// TrialLength after Began.
	Began, Deadline time.Time
	// First marks a host's first network: what returns is "no route".
	First bool
}

// Evidence is what is known of a network on trial.
type Evidence struct {
	// Now by a clock that no adjustment moves (time.Now, never parsed from disk).
	Now time.Time
	// PlaneAnswered says that the management plane answered on a connection that
	// was opened after the trial began.
	PlaneAnswered bool
	// Path is the latest grade on the new routes; PathMeasured says that there is
	// one. Where nothing is to be probed it is measured, and GradeUnknown.
	Path         PathGrade
	PathMeasured bool
	// Rounds counts the rounds of probes on the new routes that have ended.
	Rounds int
}

// Judge decides on the trial and says why, in words for people. It confirms as soon
// as the plane has answered and the path is no worse than before; it gives up early
// only where neither the plane nor anything in the VPC answers and the VPC did
// before; from the deadline on it always decides. An operator at the host may
// confirm what Judge would not: that is not asked here.
func (t Trial) Judge(e Evidence) (Decision, string) {
	fine := e.PathMeasured && t.noWorse(e.Path)
	switch {
	case e.PlaneAnswered && fine:
		return DecisionConfirm, "the management plane answered on a new connection, and " + t.pathText(e)
	case !e.Now.Before(t.deadline()):
		return DecisionRollback, "by the end of the trial " + t.missing(e, fine)
	case e.Now.Before(t.Began):
		// Never by a monotonic clock: then nobody can tell when the trial is over.
		return DecisionRollback, "the clock went back behind the beginning of the trial"
	case t.hopeless(e):
		return DecisionRollback, fmt.Sprintf("after %d rounds of probes %s", e.Rounds, t.missing(e, fine))
	}
	left := t.deadline().Sub(e.Now).Round(time.Second)
	return DecisionWait, fmt.Sprintf("%s so far; the network from before returns in %s", t.missing(e, fine), left)
}

func (t Trial) deadline() time.Time {
	if t.Deadline.IsZero() {
		return t.Began.Add(TrialLength)
	}
	return t.Deadline
}

// noWorse compares the path with that from before. Where one of the two cannot be
// known, because nothing is to be probed, the plane alone counts.
func (t Trial) noWorse(now PathGrade) bool {
	return t.Before == GradeUnknown || now == GradeUnknown || now >= t.Before
}

// hopeless says that waiting longer would only keep a host cut off that was not.
// On a first network nothing better would return.
func (t Trial) hopeless(e Evidence) bool {
	return !t.First && !e.PlaneAnswered && e.PathMeasured && e.Path == GradeDown && t.Before > GradeDown &&
		e.Rounds >= hopelessRounds
}

// missing says what keeps the trial from being confirmed.
func (t Trial) missing(e Evidence, fine bool) string {
	const plane = "the management plane has not answered on a new connection"
	switch {
	case fine:
		return plane
	case e.PlaneAnswered:
		return t.pathText(e)
	}
	return plane + ", and " + t.pathText(e)
}

func (t Trial) pathText(e Evidence) string {
	switch {
	case !e.PathMeasured:
		return "the path to the VPC has not been measured on the new routes"
	case e.Path == GradeUnknown:
		return "nothing in the VPC is given to be probed"
	case t.Before == GradeUnknown:
		return fmt.Sprintf("the path to the VPC is %s", e.Path)
	}
	return fmt.Sprintf("the path to the VPC is %s, before it was %s", e.Path, t.Before)
}

// MayBegin says whether a change of the network may go on trial now. With wait the
// answer may come to be yes: ask again when the plane or the path changes; waited
// is how long the change has been waiting for the path. Neither ok nor wait: refuse
// the change with why.
//
// A trial that began while the plane is out of reach could only be rolled back, and
// one whose path was never measured could confirm a black hole. A host's first
// network has no such before: it begins at once.
func MayBegin(first, planeReachable bool, path PathGrade, measured bool, waited time.Duration) (ok, wait bool, why string) {
	switch {
	case first:
		return true, false, "the host has had no network of the assignment's before: what returns is no route"
	case !planeReachable:
		return false, true, "the management plane does not answer, so that nobody could tell whether the change cuts the host off; " +
			"the change waits until it does"
	case measured && path == GradeUnknown:
		return true, false, "the management plane answers, and nothing in the VPC is given to be probed"
	case measured:
		return true, false, "the management plane answers, and the path to the VPC is " + path.String()
	case waited < MeasureWait:
		return false, true, "the path to the VPC is being measured as it is before the change"
	}
	return false, false, fmt.Sprintf("the path to the VPC could not be measured within %s, so that nobody could tell whether the change makes it worse; "+
		"see the condition PathHealthy, then have the change tried again", MeasureWait)
}
