package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func put(t *testing.T, s *store.Store, key, value string) int64 {
	t.Helper()
	rev, err := s.Commit(t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestKeepsOverARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a", "1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	e, err := s.Get(t.Context(), "a")
	if err != nil || string(e.Value) != "1" {
		t.Fatalf("got %q, %v", e.Value, err)
	}
	info, err := os.Stat(filepath.Join(dir, "secret.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("secret.key: %v, %v", info, err)
	}
}

func TestGuardsMakeWritesOptimistic(t *testing.T) {
	s := open(t, t.TempDir())
	rev := put(t, s, "a", "1")
	write := []store.Write{{Key: "a", Value: []byte("2")}, {Key: "b", Value: []byte("2")}}
	if _, err := s.Commit(t.Context(), []store.Guard{{Key: "a", Revision: 0}}, write); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("a key that exists was made again: %v", err)
	}
	if _, err := s.Get(t.Context(), "b"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("half of a refused commit was written: %v", err)
	}
	if _, err := s.Commit(t.Context(), []store.Guard{{Key: "a", Revision: rev}}, write); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), []store.Guard{{Key: "a", Revision: rev}}, write); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("an overtaken write was done: %v", err)
	}
}

func TestListIsPaged(t *testing.T) {
	s := open(t, t.TempDir())
	const n = 1203
	for i := 0; i < n; i += 401 {
		var writes []store.Write
		for j := i; j < i+401; j++ {
			writes = append(writes, store.Write{Key: "k/" + string(rune('a'+j/401)) + strings.Repeat("x", j%401)})
		}
		if _, err := s.Commit(t.Context(), nil, writes); err != nil {
			t.Fatal(err)
		}
	}
	list, _, err := s.List(t.Context(), "k/")
	if err != nil || len(list) != n {
		t.Fatalf("got %d of %d keys, %v", len(list), n, err)
	}
}

func TestWatchGivesWholeCommitsInOrder(t *testing.T) {
	s := open(t, t.TempDir())
	before := put(t, s, "w/old", "0")
	type seen struct {
		keys    string
		deleted bool
	}
	got := make(chan seen, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, "w/", before, func(b store.Batch) error {
			var keys []string
			for _, c := range b.Changes {
				keys = append(keys, c.Entry.Key+"="+string(c.Entry.Value))
			}
			got <- seen{strings.Join(keys, " "), b.Changes[0].Deleted}
			return nil
		})
	}()
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "w/a", Value: []byte("1")}, {Key: "w/b", Value: []byte("2")}}); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g.keys != "w/a=1 w/b=2" {
		t.Fatalf("got %q", g.keys)
	}
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "w/a", Delete: true}}); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g.keys != "w/a=1" || !g.deleted {
		t.Fatalf("got %q, deleted %v", g.keys, g.deleted)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestSecondPlaneIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := store.Open(t.Context(), store.Options{Dir: dir, Log: zap.NewNop()})
	if err == nil || !strings.Contains(err.Error(), "another hybrid-plane uses it") {
		t.Fatalf("got %v", err)
	}
}

func TestSecretsNeedTheirKey(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const code = "very-secret-activation-code"
	cluster := &planev1.Resource{Kind: kind.Cluster, Metadata: &planev1.Metadata{Name: "lab"}, Spec: &planev1.Resource_HybridCluster{
		HybridCluster: &planev1.HybridClusterSpec{AccessManagement: &planev1.AccessManagementSpec{Method: &planev1.AccessManagementSpec_SystemsManager{
			SystemsManager: &planev1.SystemsManagerSpec{ActivationId: "id", ActivationCode: code},
		}}},
	}}
	w, err := s.EncodeResource(cluster)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), nil, []store.Write{w}); err != nil {
		t.Fatal(err)
	}
	got, err := s.GetResource(t.Context(), kind.Cluster, "lab")
	if err != nil || got.GetHybridCluster().GetAccessManagement().GetSystemsManager().GetActivationCode() != code {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	noPlaintext(t, dir, code)

	key := filepath.Join(dir, "secret.key")
	if err := os.WriteFile(key, bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = store.Open(t.Context(), store.Options{Dir: dir, Log: zap.NewNop()}); err == nil || !strings.Contains(err.Error(), "is not the key that the secrets") {
		t.Fatalf("another key: %v", err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err = store.Open(t.Context(), store.Options{Dir: dir, Log: zap.NewNop()}); err == nil || !strings.Contains(err.Error(), "secret.key is missing") {
		t.Fatalf("no key: %v", err)
	}
}

// noPlaintext searches every file of the data directory.
func noPlaintext(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSealedValueStaysInItsPlace(t *testing.T) {
	s := open(t, t.TempDir())
	sealed, err := s.Seal("one", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unseal("two", sealed); err == nil {
		t.Fatal("a value was accepted under another label")
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := s.Unseal("one", sealed); err == nil {
		t.Fatal("a changed value was accepted")
	}
}

// The embedded etcd must be reachable from nowhere. The process as a whole has
// no TCP listener, so none of its descriptors may be one in state LISTEN.
func TestEtcdListensNowhere(t *testing.T) {
	begin := time.Now()
	open(t, t.TempDir())
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("start took %s", took)
	}
	own := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(target, "socket:[") {
			own[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	const listen, stateField, inodeField = "0A", 3, 9 // include/net/tcp_states.h; proc_pid_net(5)
	for _, name := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n") {
			if f := strings.Fields(line); len(f) > inodeField && f[stateField] == listen && own[f[inodeField]] {
				t.Errorf("etcd listens: %s", line)
			}
		}
	}
}
