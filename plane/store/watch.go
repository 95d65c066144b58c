package store

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrLagged says that the watch fell behind what etcd still keeps: list again
// and watch from there.
var ErrLagged = errors.New("watch fell behind compaction")

// Change is one event of a watch.
type Change struct {
	// Entry as written; of a removed key the last value, where etcd still has it.
	Entry Entry
	// Deleted says that the key is gone.
	Deleted bool
}

// Batch is what one or more commits changed; a commit is never split.
type Batch struct {
	Changes []Change
	// Revision of the last change.
	Revision int64
}

// Watch calls handle for every change after a revision of keys that begin with
// prefix, in order, until the context ends (and then answers nil), handle fails
// or the watch is lost.
func (s *Store) Watch(ctx context.Context, prefix string, after int64, handle func(Batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := s.client.Watch(ctx, root+prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1), clientv3.WithPrevKV())
	for resp := range events {
		if resp.CompactRevision != 0 {
			return fmt.Errorf("cannot watch %s after revision %d: %w", prefix, after, ErrLagged)
		}
		if err := resp.Err(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("cannot watch %s: %w", prefix, err)
		}
		if len(resp.Events) == 0 {
			continue
		}
		if err := handle(batchOf(resp)); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("cannot watch %s: the watch ended", prefix)
}

func batchOf(resp clientv3.WatchResponse) Batch {
	b := Batch{Changes: make([]Change, 0, len(resp.Events))}
	for _, ev := range resp.Events {
		c := Change{Entry: entryOf(ev.Kv), Deleted: ev.Type == clientv3.EventTypeDelete}
		if c.Deleted && ev.PrevKv != nil {
			c.Entry.Value = ev.PrevKv.Value
		}
		// Not the header's: a long backlog comes in parts under one header.
		b.Revision = max(b.Revision, ev.Kv.ModRevision)
		b.Changes = append(b.Changes, c)
	}
	return b
}
