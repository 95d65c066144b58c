package store_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"hybridagent/plane/store"
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Options{Dir: dir, UnsafeNoFsync: true, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOpenIsQuickAndKeeps(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now()
	s := open(t, dir)
	t.Logf("first start took %s", time.Since(begin))
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "a", Value: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	s = open(t, dir)
	t.Logf("second start took %s", time.Since(begin))
	e, err := s.Get(t.Context(), "a")
	if err != nil || string(e.Value) != "1" {
		t.Fatalf("got %q, %v", e.Value, err)
	}
	info, err := os.Stat(filepath.Join(dir, "secret.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("secret.key: %v, %v", info, err)
	}
}
