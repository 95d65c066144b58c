package journal

import "slices"

// migrate turns the records of a journal of format 1 into those of Schema. That
// format knew neither the decision that an operation has failed nor tries of an
// undo: one that was being taken back when its process ended is taken back
// further instead of begun again.
func migrate(records []Record) []Record {
	records = slices.Clone(records)
	records[0].Schema = Schema
	cause := Record{Kind: Failing, Message: "the operation failed before the agent was upgraded"}
	turned := -1
	for i, record := range records {
		switch record.Kind {
		case Undo, Undone:
			records[i].Attempt = max(record.Attempt, 1)
			if turned < 0 {
				turned = i
			}
		case Failed:
			cause.Step, cause.Message, turned = record.Step, record.Message, -1
		case Intent, Done:
			turned = -1
		}
	}
	if turned < 0 {
		return records
	}
	cause.At = records[turned].At
	return slices.Insert(records, turned, cause)
}
