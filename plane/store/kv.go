package store

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const listPage = 1000

// MaxCommitBytes is how much keys and values of one commit may have together;
// etcd's own words around them fit beside it.
const MaxCommitBytes = maxRequestBytes - maxTxnOps*128

// Entry is a key with its value.
type Entry struct {
	// Key without the store's root.
	Key string
	// Value as written.
	Value []byte
	// Revision of its last write; never 0.
	Revision int64
}

// Guard is a condition of a commit: the key was last written at the revision.
type Guard struct {
	Key string
	// Revision wanted; 0: the key must not exist.
	Revision int64
	// Exists asks only that the key exists; Revision is ignored.
	Exists bool
}

func (g Guard) compare() clientv3.Cmp {
	if g.Exists {
		return clientv3.Compare(clientv3.ModRevision(root+g.Key), ">", 0)
	}
	return clientv3.Compare(clientv3.ModRevision(root+g.Key), "=", g.Revision)
}

// Write is one change of a commit.
type Write struct {
	Key string
	// Value to put; ignored with Delete.
	Value []byte
	// Delete removes the key, which need not exist.
	Delete bool
}

// Size is what the write counts against MaxCommitBytes.
func (w Write) Size() int { return len(root) + len(w.Key) + len(w.Value) }

// Get reads one key.
func (s *Store) Get(ctx context.Context, key string) (Entry, error) {
	resp, err := s.client.Get(ctx, root+key)
	if err != nil {
		return Entry{}, fmt.Errorf("cannot read %s: %w", key, err)
	}
	if len(resp.Kvs) == 0 {
		return Entry{}, fmt.Errorf("cannot read %s: %w", key, ErrNotFound)
	}
	return entryOf(resp.Kvs[0]), nil
}

// List reads every key that begins with prefix, in order, all as of the one
// revision that it answers.
func (s *Store) List(ctx context.Context, prefix string) ([]Entry, int64, error) {
	var out []Entry
	var rev int64
	from, end := root+prefix, clientv3.GetPrefixRangeEnd(root+prefix)
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(listPage)}
		if rev != 0 {
			opts = append(opts, clientv3.WithRev(rev))
		}
		resp, err := s.client.Get(ctx, from, opts...)
		if err != nil {
			return nil, 0, fmt.Errorf("cannot list %s: %w", prefix, err)
		}
		if rev == 0 {
			rev = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			out = append(out, entryOf(kv))
		}
		if !resp.More {
			return out, rev, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// Commit does all writes, or none and ErrConflict when a guard does not hold.
// It answers the revision of the writes.
func (s *Store) Commit(ctx context.Context, guards []Guard, writes []Write) (int64, error) {
	cmps := make([]clientv3.Cmp, 0, len(guards))
	for _, g := range guards {
		cmps = append(cmps, g.compare())
	}
	ops := make([]clientv3.Op, 0, len(writes))
	for _, w := range writes {
		if w.Delete {
			ops = append(ops, clientv3.OpDelete(root+w.Key))
			continue
		}
		ops = append(ops, clientv3.OpPut(root+w.Key, string(w.Value)))
	}
	resp, err := s.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	if err != nil {
		return 0, fmt.Errorf("cannot write %s: %w", keysOf(writes), err)
	}
	if !resp.Succeeded {
		return 0, fmt.Errorf("cannot write %s: %w", keysOf(writes), ErrConflict)
	}
	return resp.Header.Revision, nil
}

func keysOf(writes []Write) string {
	const shown = 3
	keys := make([]string, 0, shown)
	for i, w := range writes {
		if i == shown {
			keys = append(keys, "…")
			break
		}
		keys = append(keys, w.Key)
	}
	return strings.Join(keys, ", ")
}

func entryOf(kv *mvccpb.KeyValue) Entry {
	return Entry{Key: strings.TrimPrefix(string(kv.Key), root), Value: kv.Value, Revision: kv.ModRevision}
}
