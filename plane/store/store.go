package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// ErrNotFound says that a key does not exist.
var ErrNotFound = errors.New("not found")

// ErrConflict says that a guard of a commit did not hold: somebody else wrote
// in between. Read again and retry.
var ErrConflict = errors.New("changed in between")

// ErrInUse says that another process has the data directory open.
var ErrInUse = errors.New("another hybrid-plane uses it")

// root precedes every key, so that the store can share an etcd with others.
const root = "/hybrid/v1/"

// Options says where and how the store is kept.
type Options struct {
	// Dir is the data directory; made 0700 where missing.
	Dir string
	// UnsafeNoFsync trades durability for speed; for tests only.
	UnsafeNoFsync bool
	// Log gets etcd's errors.
	Log *zap.Logger
}

// Store is an open data directory.
type Store struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	box    *secretBox
	lock   *os.File
	once   sync.Once
}

// Open opens or makes the data directory. It fails when another process has it
// open, and when the secrets in it were encrypted with another key.
func Open(ctx context.Context, opt Options) (*Store, error) {
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make data directory %s: %w", opt.Dir, err)
	}
	lock, err := lockDir(opt.Dir)
	if err != nil {
		return nil, err
	}
	_, statErr := os.Stat(filepath.Join(opt.Dir, "etcd"))
	box, err := openBox(filepath.Join(opt.Dir, "secret.key"), errors.Is(statErr, os.ErrNotExist))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	e, client, err := startEtcd(ctx, opt.Dir, opt.UnsafeNoFsync, opt.Log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s := &Store{etcd: e, client: client, box: box, lock: lock}
	if err := s.checkKey(ctx, opt.Dir); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close stops etcd; what was committed is on disk.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		err = s.client.Close()
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		s.etcd.Close()
		err = errors.Join(err, s.lock.Close())
	})
	return err
}

// Failed answers etcd's fatal error, should there be one while it runs.
func (s *Store) Failed() <-chan error { return s.etcd.Err() }

// lockDir keeps a second plane away: etcd itself would wait without a word.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("cannot open data directory %s: %w; stop that one or choose another --data", dir, ErrInUse)
		}
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return f, nil
}

// checkKey proves that the secret key is the one the data was written with.
func (s *Store) checkKey(ctx context.Context, dir string) error {
	const key, text = "meta/key-check", "hybrid-plane"
	kv, err := s.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		sealed, err := s.Seal(key, []byte(text))
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, []Guard{{Key: key, Revision: 0}}, []Write{{Key: key, Value: sealed}})
		return err
	}
	if err != nil {
		return err
	}
	if _, err := s.Unseal(key, kv.Value); err != nil {
		return fmt.Errorf("%s is not the key that the secrets in %s were encrypted with; restore it from the backup of this plane: %w",
			filepath.Join(dir, "secret.key"), dir, err)
	}
	return nil
}
