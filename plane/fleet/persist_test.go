package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

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

// withInventory makes hosts whose inventory has about that many bytes.
func (f *Fleet) withInventory(id string, bytes int) {
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
		f.withInventory(fmt.Sprintf("edge-%d", i), 100<<10)
		if i == hosts/2 {
			f.withInventory("huge", store.MaxCommitBytes)
		}
	}
	f.withInventory("large", store.MaxCommitBytes-1<<10)
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
