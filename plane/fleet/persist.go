package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

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
	return []string{statusPrefix + hostID, wantedPrefix + hostID, identityPrefix + hostID}
}

func (f *Fleet) readRecords(ctx context.Context) (map[string]record, error) {
	out := map[string]record{}
	entries, _, err := f.cfg.Store.List(ctx, statusPrefix)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		s := &planev1.EdgeHostStatus{}
		if err := proto.Unmarshal(e.Value, s); err != nil {
			return nil, fmt.Errorf("cannot decode %s: %w", e.Key, err)
		}
		out[strings.TrimPrefix(e.Key, statusPrefix)] = record{status: s}
	}
	entries, _, err = f.cfg.Store.List(ctx, wantedPrefix)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		id := strings.TrimPrefix(e.Key, wantedPrefix)
		r := out[id]
		if err := json.Unmarshal(e.Value, &r.wanted); err != nil {
			return nil, fmt.Errorf("cannot decode %s: %w", e.Key, err)
		}
		out[id] = r
	}
	return out, nil
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

// save writes the records of hosts, in as many commits as they need.
func (f *Fleet) save(ctx context.Context, ids []string) error {
	for _, writes := range f.batches(ids) {
		if err := f.commit(ctx, writes); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) commit(ctx context.Context, writes []store.Write) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	_, err := f.cfg.Store.Commit(ctx, nil, writes)
	return err
}

// batches are the writes of hosts, cut into commits. What can never be written
// is left out and logged: tried again, it would keep all others from the disk.
func (f *Fleet) batches(ids []string) [][]store.Write {
	var out [][]store.Write
	var batch []store.Write
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
		for _, w := range writes {
			n := w.Size()
			if n > store.MaxCommitBytes {
				f.cfg.Log.Error("state of a host is too large to be written; it is lost when the plane stops",
					zap.String("host_id", id), zap.String("key", w.Key), zap.Int("bytes", n), zap.Int("limit", store.MaxCommitBytes))
				continue
			}
			if len(batch) > 0 && size+n > saveBytes {
				out, batch, size = append(out, batch), nil, 0
			}
			batch, size = append(batch, w), size+n
		}
	}
	if len(batch) > 0 {
		out = append(out, batch)
	}
	return out
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
	return []store.Write{{Key: statusPrefix + h.id, Value: status}, {Key: wantedPrefix + h.id, Value: number}}, nil
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
