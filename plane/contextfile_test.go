package plane

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"hybridagent/plane/ca"
	"hybridagent/plane/operator"
	"hybridagent/plane/store"
)

const day = 24 * time.Hour

// newContext makes an authority and a context file of that moment.
func newContext(t *testing.T, now func() time.Time) (Info, *ca.Authority) {
	t.Helper()
	dir := t.TempDir()
	st, err := store.Open(t.Context(), store.Options{Dir: dir, UnsafeNoFsync: true, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	authority, err := ca.Load(t.Context(), st, now)
	if err != nil {
		t.Fatal(err)
	}
	info := Info{Address: "plane.example:7443", CAPEM: authority.CertificatePEM(), ContextFile: contextPath(dir)}
	if err := keepContext(info, authority, now(), zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	return info, authority
}

func end(t *testing.T, info Info) time.Time {
	t.Helper()
	held, err := operator.Read(info.ContextFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.TLS(); err != nil {
		t.Fatal(err)
	}
	cert, err := held.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	return cert.NotAfter
}

func TestContextIsRenewedInTime(t *testing.T) {
	start := time.Now()
	now := start
	info, authority := newContext(t, func() time.Time { return now })
	held, err := operator.Read(info.ContextFile)
	if err != nil {
		t.Fatal(err)
	}
	held.Address = "other.example:7443"
	if err := held.Write(info.ContextFile); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at, from int // days: of the look, and of the certificate that is there then
	}{{1, 0}, {240, 0}, {246, 246}, {480, 246}, {1000, 1000}} {
		now = start.Add(time.Duration(c.at) * day)
		if err := keepContext(info, authority, now, zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		want := start.Add(time.Duration(c.from+365) * day)
		if got := end(t, info); got.Sub(want).Abs() > time.Minute {
			t.Errorf("on day %d the certificate ends at %s, want %s", c.at, got, want)
		}
	}
	if held, err = operator.Read(info.ContextFile); err != nil || held.Address != "other.example:7443" {
		t.Errorf("address %q, %v: the operator had written another", held.Address, err)
	}
}

// TestForeignContextIsLeftAlone: what the plane did not write, it does not
// overwrite, nor does it keep the plane from starting.
func TestForeignContextIsLeftAlone(t *testing.T) {
	info, authority := newContext(t, time.Now)
	foreign, _ := newContext(t, time.Now)
	other, err := os.ReadFile(foreign.ContextFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "address: x\n", string(other)} {
		if err := os.WriteFile(info.ContextFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := keepContext(info, authority, time.Now().Add(1000*day), zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(info.ContextFile); err != nil || string(got) != text {
			t.Errorf("%.20q was overwritten, %v", text, err)
		}
	}
}

func TestContextIsRenewedWhileThePlaneRuns(t *testing.T) {
	info, authority := newContext(t, time.Now)
	synctest.Test(t, func(t *testing.T) {
		if err := os.Remove(info.ContextFile); err != nil {
			t.Fatal(err)
		}
		if err := keepContext(info, authority, time.Now(), zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		first := end(t, info)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			watchContext(ctx, info, authority, time.Now, zap.NewNop())
			close(done)
		}()
		<-time.After(260 * day)
		synctest.Wait()
		if second := end(t, info); second.Sub(first) < 200*day {
			t.Errorf("the certificate ends at %s still, at first %s", second, first)
		}
		cancel()
		<-done
	})
}

func TestRenewContextMakesNoPlane(t *testing.T) {
	dir := t.TempDir()
	_, err := RenewContext(t.Context(), Config{DataDir: dir, Now: time.Now, Log: zap.NewNop()})
	if err == nil {
		t.Error("a context was written for no plane")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
