package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	disk store.Disk
	seam Seam
	// damaged is told of files that were set aside.
	damaged func(error)
	// sequence keeps two callers from restoring the sequence at once.
	sequence sync.Mutex
}

// ErrDamaged says that a journal is of no use: not even its first record can be
// read.
var ErrDamaged = errors.New("its first record is damaged")

// ErrNewer says that a journal was written by a newer version; it is left as it is.
var ErrNewer = errors.New("schema")

// signedSchema is the number of the format of the signed bytes' file.
const signedSchema = 1

// Seam is called around each record that is put on disk: crash tests end the
// process there.
type Seam struct{ Before, After func(Record) }

// Open returns the store in this directory, which it makes (0700) if missing.
func Open(dir string) (*Store, error) { return OpenOn(dir, store.Disk{}) }

// OpenOn is Open for a disk of one's own, as tests have.
func OpenOn(dir string, disk store.Disk) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the journal's directory: %w", err)
	}
	if err := disk.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	nothing := func(Record) {}
	return &Store{dir: dir, disk: disk, seam: Seam{Before: nothing, After: nothing}, damaged: func(error) {}}, nil
}

// OnDamage sets the function that is told of damaged files that were set aside.
func (s *Store) OnDamage(tell func(error)) { s.damaged = tell }

// SetSeam sets the functions that are called around each record.
func (s *Store) SetSeam(seam Seam) { s.seam = seam }

// Create begins the journal of an operation: its signed bytes first, then the
// accepted record. id must be safe as a file name.
func (s *Store) Create(id string, signed []byte, operation Operation, at time.Time) (*Journal, error) {
	record := Record{Schema: Schema, Kind: Accepted, At: at, Operation: &operation}
	s.seam.Before(record)
	if err := s.prune(); err != nil {
		return nil, err
	}
	if err := s.disk.Write(s.path(id, operationSuffix), signedSchema, signed); err != nil {
		return nil, fmt.Errorf("cannot keep operation %s: %w", id, err)
	}
	j := &Journal{store: s, id: id}
	line, err := encode(record)
	if err != nil {
		return nil, err
	}
	if err := s.disk.WriteRaw(s.path(id, journalSuffix), line, 0o600); err != nil {
		return nil, fmt.Errorf("cannot begin the journal of operation %s: %w", id, err)
	}
	j.records = []Record{record}
	s.seam.After(record)
	return j, nil
}

// Load reads the journal of an operation; fs.ErrNotExist where there is none.
// A truncated last record is dropped, on disk as well, and a journal of an older
// format whose operation has not ended is converted.
func (s *Store) Load(id string) (*Journal, error) {
	j, whole, size, err := s.read(id)
	if err != nil {
		return nil, err
	}
	if j.old {
		return j, j.convert()
	}
	if whole < size {
		if err := s.disk.Truncate(s.path(id, journalSuffix), int64(whole)); err != nil {
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
	switch have := records[0].Schema; {
	case have > Schema:
		return nil, 0, 0, fmt.Errorf("cannot read the journal of operation %s: it has %w %d, this version reads up to %d; install the version that wrote it", id, ErrNewer, have, Schema)
	case have < Schema:
		return &Journal{store: s, id: id, records: migrate(records), old: true}, whole, len(content), nil
	}
	return &Journal{store: s, id: id, records: records}, whole, len(content), nil
}

// SetAside moves a damaged journal away, so that its operation may begin anew.
func (s *Store) SetAside(id string) error {
	aside, err := s.disk.SetAside(s.path(id, journalSuffix))
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

func (s *Store) path(id, suffix string) string { return filepath.Join(s.dir, id+suffix) }
