package rollout

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"hybridagent/plane/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestUnreadableRecordIsReplaced: the plane starts, and the host's next operation
// is above every one that it may have had.
func TestUnreadableRecordIsReplaced(t *testing.T) {
	st, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), UnsafeNoFsync: true, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	good, err := record{Epoch: 1, Counter: 4, Pending: &order{ID: "op", Envelope: []byte("envelope")}}.write(st, "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	// Not JSON, and sealed for another host.
	elsewhere := store.Write{Key: recordPrefix + "edge-2", Value: good.Value}
	broken := store.Write{Key: recordPrefix + "edge-3", Value: []byte("{")}
	if _, err := st.Commit(t.Context(), nil, []store.Write{good, elsewhere, broken}); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.ErrorLevel)
	for range 2 {
		c, err := New(t.Context(), Config{Store: st, Now: time.Now, Log: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		if r := c.records["edge-1"]; r.Counter != 4 || string(r.Pending.Envelope) != "envelope" {
			t.Errorf("the record that can be read is %+v", r)
		}
		for _, id := range []string{"edge-2", "edge-3"} {
			r := c.records[id]
			if r.Pending != nil || r.Epoch != 1 || r.Counter < 1e9 {
				t.Errorf("%s: %+v", id, r)
			}
			next := *r
			next.Counter++
			if err := c.save(t.Context(), id, &next); err != nil {
				t.Errorf("%s cannot be written again: %v", id, err)
			}
		}
	}
	if n := logs.FilterMessageSnippet("set aside").Len(); n != 2 {
		t.Errorf("%d lines were logged, want 2", n)
	}
	if e, err := st.Get(t.Context(), store.AsidePrefix+broken.Key); err != nil || string(e.Value) != "{" {
		t.Errorf("set aside is %q, %v", e.Value, err)
	}
}
