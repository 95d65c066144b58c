package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	statusPrefix = "status/"
	wantedPrefix = "wanted/"
	// saveBatch hosts are written in one commit at most: two keys each, below the
	// store's limit of operations.
	saveBatch = 128
	// saveBytes cut a commit sooner: a large inventory is some 100 KiB, and etcd
	// takes a commit as a whole or not at all.
	saveBytes = 1 << 20
	// saveDelay gathers a burst of reports into one commit.
	saveDelay   = 50 * time.Millisecond
	saveRetry   = time.Second
	saveTimeout = 5 * time.Second
)

// wantedRecord is the number of a host's assignment; stored as JSON.
type wantedRecord struct {
	Schema     int    `json:"schema"`
	Generation uint64 `json:"generation"`
	Digest     string `json:"digest"`
}

// record is what is stored of a host beside its resource and identity.
type record struct {
	wanted wantedRecord
	status *planev1.EdgeHostStatus
}

// RecordKeys are the keys that go with a host when it is removed.
func RecordKeys(hostID string) []string {
	return []string{
		statusPrefix + hostID, wantedPrefix + hostID, identityPrefix + hostID,
		store.AsidePrefix + statusPrefix + hostID, store.AsidePrefix + wantedPrefix + hostID,
	}
}

// readRecords reads what is stored of hosts. What cannot be read is set aside:
// the host reports its state again, and its generation rises above what it holds.
func (f *Fleet) readRecords(ctx context.Context) (map[string]record, error) {
	out := map[string]record{}
	err := f.readEach(ctx, statusPrefix, func(id string, value []byte) error {
		s := &planev1.EdgeHostStatus{}
		if err := proto.Unmarshal(value, s); err != nil {
			return err
		}
		out[id] = record{status: s}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = f.readEach(ctx, wantedPrefix, func(id string, value []byte) error {
		var w wantedRecord
		if err := json.Unmarshal(value, &w); err != nil {
			return err
		}
		r := out[id]
		r.wanted = w
		out[id] = r
		return nil
	})
	return out, err
}

func (f *Fleet) readEach(ctx context.Context, prefix string, decode func(hostID string, value []byte) error) error {
	entries, _, err := f.cfg.Store.List(ctx, prefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := strings.TrimPrefix(e.Key, prefix)
		if err := decode(id, e.Value); err != nil {
			aside := f.cfg.Store.SetAside(ctx, e)
			f.cfg.Log.Error("record of a host cannot be read and is set aside", zap.String("host_id", id), zap.String("key", e.Key),
				zap.String("moved_to", store.AsidePrefix+e.Key), zap.Error(errors.Join(err, aside)))
		}
	}
	return nil
}

// persist writes changed hosts behind. Nothing waits for it: what a crash loses
// the hosts report again when they connect.
func (f *Fleet) persist(ctx context.Context) error {
	for {
		select {
		case <-f.unsaved.wake:
		case <-ctx.Done():
			return f.flush(context.WithoutCancel(ctx))
		}
		if !pause(ctx, saveDelay) {
			return f.flush(context.WithoutCancel(ctx))
		}
		ids := f.unsaved.take(saveBatch)
		if err := f.save(ctx, ids); err != nil && ctx.Err() == nil {
			f.cfg.Log.Error("state of hosts is not written yet", zap.Int("hosts", len(ids)), zap.Error(err))
			pause(ctx, saveRetry)
		} else if err == nil {
			continue
		}
		for _, id := range ids {
			f.unsaved.add(id)
		}
	}
}

func (f *Fleet) flush(ctx context.Context) error {
	for ids := f.unsaved.take(saveBatch); len(ids) > 0; ids = f.unsaved.take(saveBatch) {
		if err := f.save(ctx, ids); err != nil {
			return err
		}
	}
	return nil
}

// part is what one host has to write.
type part struct {
	id     string
	writes []store.Write
}

// save writes the records of hosts, in as many commits as they need.
func (f *Fleet) save(ctx context.Context, ids []string) error {
	for _, batch := range f.batches(ids) {
		if err := f.commit(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// commit writes records on condition that their hosts exist: one that was removed
// meanwhile would leave them behind for ever.
func (f *Fleet) commit(ctx context.Context, batch []part) error {
	timed, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var guards []store.Guard
	var writes []store.Write
	for _, p := range batch {
		guards = append(guards, store.Guard{Key: store.ResourceKey(kind.Host, p.id), Exists: true})
		writes = append(writes, p.writes...)
	}
	_, err := f.cfg.Store.Commit(timed, guards, writes)
	if !errors.Is(err, store.ErrConflict) {
		return err
	}
	if len(batch) == 1 {
		return nil // of a host that is gone
	}
	for i := range batch {
		if err := f.commit(ctx, batch[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// batches are what hosts have to write, cut into commits. What can never be
// written is left out and logged: tried again, it would keep all others from the
// disk.
func (f *Fleet) batches(ids []string) [][]part {
	var out [][]part
	var batch []part
	size := 0
	for _, id := range ids {
		h := f.host(id)
		if h == nil {
			continue
		}
		writes, err := h.writes()
		if err != nil {
			f.cfg.Log.Error("state of a host cannot be written", zap.String("host_id", id), zap.Error(err))
			continue
		}
		writes, n := f.fitting(id, writes)
		if len(batch) > 0 && size+n > saveBytes {
			out, batch, size = append(out, batch), nil, 0
		}
		batch, size = append(batch, part{id: id, writes: writes}), size+n
	}
	if len(batch) > 0 {
		out = append(out, batch)
	}
	return out
}

// fitting drops what is too large by itself, and answers the bytes of the rest.
func (f *Fleet) fitting(id string, writes []store.Write) ([]store.Write, int) {
	var out []store.Write
	size := 0
	for _, w := range writes {
		n := w.Size()
		if size+n > store.MaxCommitBytes {
			f.cfg.Log.Error("state of a host is too large to be written; it is lost when the plane stops",
				zap.String("host_id", id), zap.String("key", w.Key), zap.Int("bytes", n), zap.Int("limit", store.MaxCommitBytes))
			continue
		}
		out, size = append(out, w), size+n
	}
	return out, size
}

func (h *host) writes() ([]store.Write, error) {
	h.mu.Lock()
	s, wanted := h.snapshotLocked(), wantedRecord{Schema: 1, Generation: h.generation, Digest: h.wanted.Digest}
	h.mu.Unlock()
	s.Conditions = nil // the same as host.conditions
	status, err := proto.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the status of host %s: %w", h.id, err)
	}
	number, err := json.Marshal(wanted)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the generation of host %s: %w", h.id, err)
	}
	return []store.Write{{Key: wantedPrefix + h.id, Value: number}, {Key: statusPrefix + h.id, Value: status}}, nil
}

// pause waits; false: the context has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
