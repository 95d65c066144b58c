package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
)

// Schema is the number of the journal's format; a journal of another one is not
// resumed.
const Schema = 1

// maxRecord bounds one record, in bytes.
const maxRecord = 64 << 10

// Kind says what a record tells.
type Kind string

// The kinds of records. Every intent is on disk before its action begins, every
// outcome before the next action does.
const (
	// Accepted is the first record of each operation.
	Accepted Kind = "accepted"
	// Intent says that a step is about to be done.
	Intent Kind = "intent"
	// Done says that a step was done.
	Done Kind = "done"
	// Failed says that a try of a step failed.
	Failed Kind = "failed"
	// Resumed says that a new process takes the operation up, after a crash, a
	// reboot or a power cut.
	Resumed Kind = "resumed"
	// Undo says that a step is about to be undone, Undone that it was.
	Undo   Kind = "undo"
	Undone Kind = "undone"
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
	// Attempt counts the tries of a step from 1.
	Attempt int `json:"attempt,omitempty"`
	// Message is for people; secrets are redacted.
	Message string `json:"message,omitempty"`
	// Percent is the operation's progress, in done and ended.
	Percent uint32 `json:"percent,omitempty"`
	// Lines are the last log lines, in the last record only; redacted.
	Lines []string `json:"lines,omitempty"`
	// Operation says which operation it is, in the first record only.
	Operation *Operation `json:"operation,omitempty"`
	// Success is the result, in the last record only.
	Success bool `json:"success,omitempty"`
}

// Operation is what a journal keeps of the operation itself; the rest may be
// secret.
type Operation struct {
	// Kind is an agentv1.OperationKind.
	Kind int32 `json:"kind"`
	// NodeDigest is the plane's digest of the node part.
	NodeDigest string `json:"nodeDigest"`
	// Epoch and Counter are its place in the plane's order.
	Epoch   uint64 `json:"epoch"`
	Counter uint64 `json:"counter"`
	// SHA256 is that of the signed bytes, hexadecimal.
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
