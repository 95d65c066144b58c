package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
)

// Schema is the number of the journal's format. Journals of format 1 are read and
// converted; those of a newer one are left alone.
const Schema = 2

// maxRecord bounds one record, in bytes; MaxKept what a planned record keeps for
// the planner, and as much again for the forecast.
const (
	maxRecord = 128 << 10
	MaxKept   = 32 << 10
)

// Kind says what a record tells.
type Kind string

// The kinds of records. Every intent is on disk before its action begins, every
// outcome before the next action does.
const (
	// Accepted is the first record of each operation.
	Accepted Kind = "accepted"
	// Planned says which path was chosen, before the first step: a resumed
	// operation goes the same one.
	Planned Kind = "planned"
	// Intent says that a step is about to be done.
	Intent Kind = "intent"
	// Done says that a step was done.
	Done Kind = "done"
	// Failed says that a try of a step failed.
	Failed Kind = "failed"
	// Resumed says that a new process takes the operation up, after a crash, a
	// reboot or a power cut.
	Resumed Kind = "resumed"
	// Abort says that somebody ends the operation.
	Abort Kind = "abort"
	// Failing says that the operation has failed for good. From it, as from an
	// abort, what was begun is taken back, and nothing is begun any more.
	Failing Kind = "failing"
	// Undo says that a step is about to be undone, Undone that it was, and
	// UndoFailed that a try of it failed.
	Undo       Kind = "undo"
	Undone     Kind = "undone"
	UndoFailed Kind = "undo-failed"
	// Ended is the last record of each operation.
	Ended Kind = "ended"
)

// Record is one line of a journal.
type Record struct {
	// Schema is the format's number, in the first record only.
	Schema int `json:"schema,omitempty"`
	// Kind says what the record tells.
	Kind Kind `json:"kind"`
	// At is the time by the host's clock.
	At time.Time `json:"at"`
	// Step names the step; empty for accepted and ended.
	Step string `json:"step,omitempty"`
	// Attempt counts the tries of a step, or of its undo, from 1.
	Attempt int `json:"attempt,omitempty"`
	// Message is for people; secrets are redacted.
	Message string `json:"message,omitempty"`
	// Percent is the operation's progress, in done and ended.
	Percent uint32 `json:"percent,omitempty"`
	// Lines are the last log lines, in the last record only; redacted.
	Lines []string `json:"lines,omitempty"`
	// Operation says which operation it is, in the first record only.
	Operation *Operation `json:"operation,omitempty"`
	// Success is the result, in the last record only; Aborted says that somebody
	// ended the operation and everything was taken back.
	Success bool `json:"success,omitempty"`
	Aborted bool `json:"aborted,omitempty"`
	// Kept is what the planner decided, in planned; at most MaxKept.
	Kept []byte `json:"kept,omitempty"`
	// Forecast is an encoded agentv1.Forecast, in planned; at most MaxKept.
	Forecast []byte `json:"forecast,omitempty"`
	// Final says that nothing is taken back from here on, in done; and that the
	// undo is not tried again, in undo-failed.
	Final bool `json:"final,omitempty"`
	// Order says who ends the operation, in abort.
	Order *Order `json:"order,omitempty"`
}

// Order is what a journal keeps of an abort.
type Order struct {
	// By is the ID of the signed abort, or says who asked on the host itself.
	By string `json:"by"`
	// Epoch and Counter are the place of a signed abort in the plane's order.
	Epoch   uint64 `json:"epoch,omitempty"`
	Counter uint64 `json:"counter,omitempty"`
	// SHA256 is that of a signed abort's bytes, hexadecimal.
	SHA256 string `json:"sha256,omitempty"`
}

// Signed reports whether the plane signed the abort.
func (o Order) Signed() bool { return o.SHA256 != "" }

// Operation is what a journal keeps of the operation itself; the rest may be
// secret.
type Operation struct {
	// Kind is an agentv1.OperationKind.
	Kind int32 `json:"kind"`
	// NodeDigest is the plane's digest of the node part.
	NodeDigest string `json:"nodeDigest"`
	// Epoch and Counter are its place in the plane's order; of a local operation,
	// the last place before it.
	Epoch   uint64 `json:"epoch"`
	Counter uint64 `json:"counter"`
	// Local says that it came from local root, without a place of its own.
	Local bool `json:"local,omitempty"`
	// SHA256 is that of its bytes as they came, hexadecimal.
	SHA256 string `json:"sha256"`
}

// encode writes a record as one line: CRC-32 in hexadecimal, a space, JSON.
func encode(record Record) ([]byte, error) {
	body, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("cannot encode a journal record: %w", err)
	}
	if len(body) > maxRecord {
		return nil, fmt.Errorf("cannot journal a record of %d bytes: more than %d", len(body), maxRecord)
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(body), body), nil
}

// decode reads the records of a journal and says how many bytes of it are
// whole. It stops at the first line that is truncated or damaged: what follows
// a torn write was never promised to be there.
func decode(content []byte) (records []Record, whole int) {
	for {
		end := bytes.IndexByte(content[whole:], '\n')
		if end < 0 {
			return records, whole
		}
		record, ok := decodeLine(content[whole : whole+end])
		if !ok {
			return records, whole
		}
		records = append(records, record)
		whole += end + 1
	}
}

func decodeLine(line []byte) (Record, bool) {
	sum, body, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(sum) != 8 {
		return Record{}, false
	}
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || crc32.ChecksumIEEE(body) != uint32(want) {
		return Record{}, false
	}
	var record Record
	if err := json.Unmarshal(body, &record); err != nil {
		return Record{}, false
	}
	return record, true
}
