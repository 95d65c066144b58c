package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// newFleet loads a fleet from a store of its own; what it logs is kept.
func newFleet(t *testing.T, st *store.Store) (*Fleet, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	f, err := New(t.Context(), Config{Store: st, Now: time.Now, Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	return f, logs
}

func newStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), UnsafeNoFsync: true, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// withInventory makes an enrolled host whose inventory has about that many bytes.
func (f *Fleet) withInventory(t *testing.T, id string, bytes int) {
	t.Helper()
	enrolled := []store.Write{{Key: store.ResourceKey(kind.Host, id)}}
	if _, err := f.cfg.Store.Commit(t.Context(), nil, enrolled); err != nil {
		t.Fatal(err)
	}
	h := newHost(id, record{}, f.cfg.Now())
	h.inventory = &agentv1.Inventory{Os: strings.Repeat("x", bytes)}
	f.hosts[id] = h
	f.unsaved.add(id)
}

// TestLargeInventoriesAreWritten: together they are more than etcd takes in one
// request, and one alone is.
func TestLargeInventoriesAreWritten(t *testing.T) {
	st := newStore(t)
	f, logs := newFleet(t, st)
	const hosts = 100
	for i := range hosts {
		f.withInventory(t, fmt.Sprintf("edge-%d", i), 100<<10)
		if i == hosts/2 {
			f.withInventory(t, "huge", store.MaxCommitBytes)
		}
	}
	f.withInventory(t, "large", store.MaxCommitBytes-1<<10)
	if err := f.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	written, _, err := st.List(t.Context(), statusPrefix)
	if err != nil || len(written) != hosts+1 {
		t.Fatalf("%d records are written, %v; want all %d but the one that is too large", len(written), err, hosts+1)
	}
	numbers, _, err := st.List(t.Context(), wantedPrefix)
	if err != nil || len(numbers) != hosts+2 {
		t.Fatalf("%d generations are written, %v, want %d", len(numbers), err, hosts+2)
	}
	dropped := logs.FilterMessageSnippet("too large").All()
	if len(dropped) != 1 || dropped[0].ContextMap()["host_id"] != "huge" {
		t.Fatalf("logged %v, want one line of host huge", dropped)
	}
}

// TestRemovedHostLeavesNothingBehind: a host that is removed while its state is
// being written has no records, and the others of that commit have theirs.
func TestRemovedHostLeavesNothingBehind(t *testing.T) {
	st := newStore(t)
	f, _ := newFleet(t, st)
	for _, id := range []string{"edge-1", "edge-2", "edge-3"} {
		f.withInventory(t, id, 10)
	}
	gone := []store.Write{{Key: store.ResourceKey(kind.Host, "edge-2"), Delete: true}}
	if _, err := st.Commit(t.Context(), nil, gone); err != nil {
		t.Fatal(err)
	}
	if err := f.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{statusPrefix, wantedPrefix} {
		list, _, err := st.List(t.Context(), prefix)
		if err != nil || len(list) != 2 || list[0].Key != prefix+"edge-1" || list[1].Key != prefix+"edge-3" {
			t.Errorf("%s holds %v, %v", prefix, list, err)
		}
	}
}

// TestUnreadableRecordsAreSetAside: they keep no plane from starting, once and
// again, and stay for whoever looks into it.
func TestUnreadableRecordsAreSetAside(t *testing.T) {
	st := newStore(t)
	writes := []store.Write{
		{Key: statusPrefix + "edge-1", Value: []byte("\xff\xff")},
		{Key: wantedPrefix + "edge-1", Value: []byte("{")},
		{Key: wantedPrefix + "edge-2", Value: []byte(`{"schema":1,"generation":7}`)},
	}
	if _, err := st.Commit(t.Context(), nil, writes); err != nil {
		t.Fatal(err)
	}
	f, logs := newFleet(t, st)
	if n := logs.FilterMessageSnippet("set aside").Len(); n != 2 {
		t.Errorf("%d lines were logged, want 2", n)
	}
	records, err := f.readRecords(t.Context())
	if err != nil || len(records) != 1 || records["edge-2"].wanted.Generation != 7 {
		t.Errorf("records %v, %v", records, err)
	}
	if n := logs.FilterMessageSnippet("set aside").Len(); n != 2 {
		t.Errorf("they are read again: %d lines", n)
	}
	for _, w := range writes[:2] {
		if e, err := st.Get(t.Context(), store.AsidePrefix+w.Key); err != nil || string(e.Value) != string(w.Value) {
			t.Errorf("%s holds %q, %v", store.AsidePrefix+w.Key, e.Value, err)
		}
		if !slices.Contains(RecordKeys("edge-1"), store.AsidePrefix+w.Key) {
			t.Errorf("%s outlives the host", store.AsidePrefix+w.Key)
		}
	}
}
