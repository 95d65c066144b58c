package journal

import "slices"

// Result returns the last record, if the operation has ended.
func (j *Journal) Result() (Record, bool) { return result(j.Records()) }

func result(records []Record) (Record, bool) {
	last := records[len(records)-1]
	return last, last.Kind == Ended
}

// Kept returns what the planner kept, not nil; false where nothing was planned
// yet.
func (j *Journal) Kept() ([]byte, bool) {
	for _, record := range j.Records() {
		if record.Kind == Planned {
			return append([]byte{}, record.Kept...), true
		}
	}
	return nil, false
}

// PastReturn reports whether a final step was done: nothing is taken back any
// more.
func PastReturn(records []Record) bool {
	return slices.ContainsFunc(records, func(r Record) bool { return r.Kind == Done && r.Final })
}

// Turn returns the abort or failing record from which the operation is taken
// back; false while it goes forward. An abort that a final step overtook does not
// count.
func Turn(records []Record) (Record, bool) {
	at := -1
	for i, record := range records {
		switch record.Kind {
		case Abort, Failing:
			if at < 0 {
				at = i
			}
		case Done:
			if at >= 0 && record.Final && records[at].Kind == Abort {
				at = -1
			}
		}
	}
	if at < 0 {
		return Record{}, false
	}
	return records[at], true
}

// Orders returns the aborts of an operation.
func Orders(records []Record) []Record {
	var aborts []Record
	for _, record := range records {
		if record.Kind == Abort && record.Order != nil {
			aborts = append(aborts, record)
		}
	}
	return aborts
}

// StepDone reports whether a step was done and not undone since.
func (j *Journal) StepDone(step string) bool {
	done := false
	for _, record := range j.Records() {
		if record.Step != step {
			continue
		}
		switch record.Kind {
		case Done:
			done = true
		case Undo, Undone:
			done = false
		}
	}
	return done
}

// Attempts counts the tries of a step that have begun.
func (j *Journal) Attempts(step string) int {
	count := 0
	for _, record := range j.Records() {
		if record.Step == step && record.Kind == Intent {
			count = max(count, record.Attempt)
		}
	}
	return count
}

// Undoing is how far the undo of a step has come.
type Undoing struct {
	// Due says that the step was begun and not undone since.
	Due bool
	// Attempt is the last try of the undo; 0: none has begun.
	Attempt int
	// Failed is why that try failed; empty: it did not, or was cut short.
	Failed string
	// GivenUp says that it is not tried again.
	GivenUp bool
}

// Undoing returns how far the undo of a step has come.
func (j *Journal) Undoing(step string) Undoing {
	var u Undoing
	for _, record := range j.Records() {
		if record.Step != step {
			continue
		}
		switch record.Kind {
		case Intent:
			u = Undoing{Due: true}
		case Undo:
			u.Attempt, u.Failed = record.Attempt, ""
		case UndoFailed:
			u.Attempt, u.Failed, u.GivenUp = record.Attempt, record.Message, record.Final
		case Undone:
			u = Undoing{}
		}
	}
	return u
}

// Undecided returns the intents whose tries are not known to have been done:
// what they began may still be under way.
func (j *Journal) Undecided() []Record {
	var open []Record
	for _, record := range j.Records() {
		same := func(one Record) bool { return one.Step == record.Step && one.Attempt == record.Attempt }
		switch {
		case record.Kind == Intent && !slices.ContainsFunc(open, same):
			open = append(open, record)
		case record.Kind == Done:
			open = slices.DeleteFunc(open, same)
		}
	}
	return open
}
