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
	// saveBatch hosts are written in one commit: two keys each, below the
	// store's limit of operations.
	saveBatch = 128
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

func (f *Fleet) save(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	writes := make([]store.Write, 0, 2*len(ids))
	for _, id := range ids {
		h := f.host(id)
		if h == nil {
			continue
		}
		w, err := h.writes()
		if err != nil {
			return err
		}
		writes = append(writes, w...)
	}
	if len(writes) == 0 {
		return nil
	}
	_, err := f.cfg.Store.Commit(ctx, nil, writes)
	return err
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
