package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hybridagent/agent/store"
)

// File names: NAME.journal holds the records, NAME.operation the signed bytes,
// which may hold a secret and are removed when the operation has ended.
const (
	journalSuffix   = ".journal"
	operationSuffix = ".operation"
)

// kept is how many ended operations stay on disk.
const kept = 20

// maxJournal bounds what is read of one journal, in bytes.
const maxJournal = 16 << 20

// Store is the folder of journals. It is not for use by several processes at
// once: the caller holds the lock of the state directory.
type Store struct {
	dir  string
	seam Seam
	// damaged is told of files that were set aside.
	damaged func(error)
	// sequence keeps two callers from restoring the sequence at once.
	sequence sync.Mutex
}

// ErrDamaged says that a journal is of no use: not even its first record can be
// read.
var ErrDamaged = errors.New("its first record is damaged")

// signedSchema is the number of the format of the signed bytes' file.
const signedSchema = 1

// Seam is called around each record that is put on disk: crash tests end the
// process there.
type Seam struct{ Before, After func(Record) }

// Open returns the store in this directory, which it makes (0700) if missing.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the journal's directory: %w", err)
	}
	if err := store.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	nothing := func(Record) {}
	return &Store{dir: dir, seam: Seam{Before: nothing, After: nothing}, damaged: func(error) {}}, nil
}

// OnDamage sets the function that is told of damaged files that were set aside.
func (s *Store) OnDamage(tell func(error)) { s.damaged = tell }

// SetSeam sets the functions that are called around each record.
func (s *Store) SetSeam(seam Seam) { s.seam = seam }

// Journal is the journal of one operation.
type Journal struct {
	store   *Store
	id      string
	records []Record
}

// Create begins the journal of an operation: its signed bytes first, then the
// accepted record. id must be safe as a file name.
func (s *Store) Create(id string, signed []byte, operation Operation, at time.Time) (*Journal, error) {
	record := Record{Schema: Schema, Kind: Accepted, At: at, Operation: &operation}
	s.seam.Before(record)
	if err := s.prune(); err != nil {
		return nil, err
	}
	if err := store.Write(s.path(id, operationSuffix), signedSchema, signed); err != nil {
		return nil, fmt.Errorf("cannot keep operation %s: %w", id, err)
	}
	j := &Journal{store: s, id: id}
	line, err := encode(record)
	if err != nil {
		return nil, err
	}
	if err := store.WriteRaw(s.path(id, journalSuffix), line, 0o600); err != nil {
		return nil, fmt.Errorf("cannot begin the journal of operation %s: %w", id, err)
	}
	j.records = []Record{record}
	s.seam.After(record)
	return j, nil
}

// Load reads the journal of an operation; fs.ErrNotExist where there is none.
// A truncated last record is dropped, on disk as well.
func (s *Store) Load(id string) (*Journal, error) {
	j, whole, size, err := s.read(id)
	if err != nil {
		return nil, err
	}
	if whole < size {
		if err := truncate(s.path(id, journalSuffix), int64(whole)); err != nil {
			return nil, fmt.Errorf("cannot drop the torn end of the journal of operation %s: %w", id, err)
		}
	}
	return j, nil
}

// Peek is Load for readers: it changes nothing on disk.
func (s *Store) Peek(id string) (*Journal, error) {
	j, _, _, err := s.read(id)
	return j, err
}

func (s *Store) read(id string) (j *Journal, whole, size int, err error) {
	file, err := os.Open(s.path(id, journalSuffix))
	if err != nil {
		return nil, 0, 0, fmt.Errorf("cannot read the journal of operation %s: %w", id, err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxJournal))
	if err != nil {
		return nil, 0, 0, fmt.Errorf("cannot read the journal of operation %s: %w", id, err)
	}
	records, whole := decode(content)
	if len(records) == 0 || records[0].Kind != Accepted || records[0].Operation == nil {
		return nil, 0, 0, fmt.Errorf("cannot read the journal of operation %s: %w", id, ErrDamaged)
	}
	if have := records[0].Schema; have != Schema {
		return nil, 0, 0, fmt.Errorf("cannot read the journal of operation %s: it has schema %d, this version reads %d; install the version that wrote it", id, have, Schema)
	}
	return &Journal{store: s, id: id, records: records}, whole, len(content), nil
}

// SetAside moves a damaged journal away, so that its operation may begin anew.
func (s *Store) SetAside(id string) error {
	aside, err := store.SetAside(s.path(id, journalSuffix))
	if err != nil {
		return err
	}
	s.damaged(fmt.Errorf("cannot read the journal of operation %s: %w; it was set aside as %s", id, ErrDamaged, aside))
	return nil
}

// Signed returns the signed bytes of an operation; fs.ErrNotExist once it has
// ended.
func (s *Store) Signed(id string) ([]byte, error) {
	signed, err := store.Read(s.path(id, operationSuffix), signedSchema)
	if err != nil {
		return nil, fmt.Errorf("cannot read operation %s: %w", id, err)
	}
	return signed, nil
}

// IDs returns the operations that have a journal, the latest last.
func (s *Store) IDs() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list operations: %w", err)
	}
	type dated struct {
		id    string
		place Sequence
		at    time.Time
	}
	var found []dated
	for _, entry := range entries {
		id, ok := strings.CutSuffix(entry.Name(), journalSuffix)
		if !ok {
			continue
		}
		j, err := s.Peek(id)
		if err != nil {
			// Not usable, yet it must not hide the others; oldest of all, it
			// is also the first to be pruned.
			found = append(found, dated{id: id})
			continue
		}
		found = append(found, dated{id: id, place: j.place(), at: j.records[0].At})
	}
	// The plane's order first: this host's clock may have been set back.
	slices.SortStableFunc(found, func(a, b dated) int {
		return cmp.Or(cmp.Compare(a.place.Epoch, b.place.Epoch), cmp.Compare(a.place.Counter, b.place.Counter), a.at.Compare(b.at))
	})
	ids := make([]string, 0, len(found))
	for _, one := range found {
		ids = append(ids, one.id)
	}
	return ids, nil
}

// prune removes the oldest ended operations beyond those kept.
func (s *Store) prune() error {
	ids, err := s.IDs()
	if err != nil {
		return err
	}
	for len(ids) >= kept {
		for _, suffix := range []string{operationSuffix, journalSuffix} {
			if err := os.Remove(s.path(ids[0], suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot remove the journal of operation %s: %w", ids[0], err)
			}
		}
		ids = ids[1:]
	}
	return nil
}

func (s *Store) path(id, suffix string) string { return filepath.Join(s.dir, id+suffix) }

// place is the operation's in the plane's order.
func (j *Journal) place() Sequence {
	operation := j.records[0].Operation
	return Sequence{Epoch: operation.Epoch, Counter: operation.Counter, ID: j.id}
}

// ID returns the operation's ID.
func (j *Journal) ID() string { return j.id }

// Records returns all records, the oldest first.
func (j *Journal) Records() []Record { return slices.Clone(j.records) }

// Append puts a record on disk.
func (j *Journal) Append(record Record) error {
	j.store.seam.Before(record)
	line, err := encode(record)
	if err != nil {
		return err
	}
	if err := appendDurably(j.store.path(j.id, journalSuffix), line); err != nil {
		return fmt.Errorf("cannot journal %s %s of operation %s: %w", record.Kind, record.Step, j.id, err)
	}
	j.records = append(j.records, record)
	j.store.seam.After(record)
	return nil
}

// End puts the last record on disk and then removes the signed bytes.
func (j *Journal) End(record Record) error {
	if err := j.Append(record); err != nil {
		return err
	}
	return j.forget()
}

// forget removes the signed bytes of an ended operation.
func (j *Journal) forget() error {
	if err := os.Remove(j.store.path(j.id, operationSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the bytes of operation %s: %w", j.id, err)
	}
	return store.SyncDir(j.store.dir)
}

// Result returns the last record, if the operation has ended.
func (j *Journal) Result() (Record, bool) {
	last := j.records[len(j.records)-1]
	return last, last.Kind == Ended
}

// StepDone reports whether a step was done and not undone since.
func (j *Journal) StepDone(step string) bool {
	done := false
	for _, record := range j.records {
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
	for _, record := range j.records {
		if record.Step == step && record.Kind == Intent {
			count = max(count, record.Attempt)
		}
	}
	return count
}

// Undecided returns the intents whose tries are not known to have been done:
// what they began may still be under way.
func (j *Journal) Undecided() []Record {
	var open []Record
	for _, record := range j.records {
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
