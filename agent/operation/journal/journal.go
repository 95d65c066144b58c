package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"hybridagent/agent/store"
)

// Journal is the journal of one operation. Its methods may be called at once.
type Journal struct {
	store *Store
	id    string
	// old says that the file on disk is of an older format.
	old bool

	mutex   sync.Mutex
	records []Record
	// torn is set while the file may hold a record that was answered with an error.
	torn *store.UncertainError
}

// place is the operation's in the plane's order.
func (j *Journal) place() Sequence {
	operation := j.Records()[0].Operation
	return Sequence{Epoch: operation.Epoch, Counter: operation.Counter, ID: j.id}
}

// places are the operation's and those of the aborts of it.
func (j *Journal) places() []Sequence {
	var places []Sequence
	if !j.Records()[0].Operation.Local {
		places = append(places, j.place())
	}
	for _, record := range Orders(j.Records()) {
		if record.Order.Signed() {
			places = append(places, Sequence{Epoch: record.Order.Epoch, Counter: record.Order.Counter, ID: record.Order.By})
		}
	}
	return places
}

// ID returns the operation's ID.
func (j *Journal) ID() string { return j.id }

// Records returns all records, the oldest first.
func (j *Journal) Records() []Record {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return slices.Clone(j.records)
}

// Append puts a record on disk.
func (j *Journal) Append(record Record) error {
	return j.AppendIf(Always, record)
}

// Always allows a record whatever stands before it.
func Always([]Record) error { return nil }

// AppendIf puts a record on disk unless allowed, which is given the records so
// far, has an error: no other record comes in between.
func (j *Journal) AppendIf(allowed func([]Record) error, record Record) error {
	// The seam is called without the lock, so that a test may append from it.
	j.store.seam.Before(record)
	if err := j.appendIf(allowed, record); err != nil {
		return err
	}
	j.store.seam.After(record)
	return nil
}

func (j *Journal) appendIf(allowed func([]Record) error, record Record) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if err := allowed(j.records); err != nil {
		return err
	}
	line, err := encode(record)
	if err != nil {
		return err
	}
	if err := j.mend(); err != nil {
		return err
	}
	if err := j.store.disk.Append(j.store.path(j.id, journalSuffix), line); err != nil {
		_ = errors.As(err, &j.torn)
		return fmt.Errorf("cannot journal %s %s of operation %s: %w", record.Kind, record.Step, j.id, err)
	}
	j.records = append(j.records, record)
	return nil
}

// mend takes a record off the file that could not be taken back when it failed:
// what comes behind it would have it count after a restart.
func (j *Journal) mend() error {
	if j.torn == nil {
		return nil
	}
	if err := j.store.disk.Truncate(j.torn.Path, j.torn.Size); err != nil {
		return fmt.Errorf("cannot journal operation %s: a record that failed before is still in the file: %w; look at the disk (dmesg)", j.id, err)
	}
	j.torn = nil
	return nil
}

// End puts the last record on disk, on the terms of AppendIf, and then removes
// the signed bytes.
func (j *Journal) End(allowed func([]Record) error, record Record) error {
	if err := j.AppendIf(allowed, record); err != nil {
		return err
	}
	return j.forget()
}

// forget removes the signed bytes of an ended operation.
func (j *Journal) forget() error {
	if err := j.store.disk.Remove(j.store.path(j.id, operationSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the bytes of operation %s: %w", j.id, err)
	}
	return j.store.disk.SyncDir(j.store.dir)
}

// convert writes the journal in today's format, unless its operation has ended:
// then there is nothing to add to it, and the version that wrote it can still
// read it.
func (j *Journal) convert() error {
	if _, ended := j.Result(); ended {
		return nil
	}
	var content []byte
	for _, record := range j.Records() {
		line, err := encode(record)
		if err != nil {
			return err
		}
		content = append(content, line...)
	}
	if err := j.store.disk.WriteRaw(j.store.path(j.id, journalSuffix), content, 0o600); err != nil {
		return fmt.Errorf("cannot convert the journal of operation %s: %w", j.id, err)
	}
	j.old = false
	return nil
}
