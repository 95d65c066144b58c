package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hybridagent/plane/operator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWrongUsage(t *testing.T) {
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"no command given":         {},
		"unknown command":          {"frob"},
		"--data is missing":        {"serve", "--advertise", "h:1"},
		"--advertise is missing":   {"serve", "--data", dir},
		`--advertise "h" is no`:    {"serve", "--data", dir, "--advertise", "h"},
		`--listen "7443" is no`:    {"serve", "--data", dir, "--advertise", "h:1", "--listen", "7443"},
		`--log-level "loud" is`:    {"serve", "--data", dir, "--advertise", "h:1", "--log-level", "loud"},
		"unknown flag: --frob":     {"serve", "--frob"},
		`unknown command "x" for`:  {"serve", "x"},
		"unknown shorthand flag: ": {"serve", "-x"},
	} {
		var errOut bytes.Buffer
		if code := run(t.Context(), args, &bytes.Buffer{}, &errOut); code != exitUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%v: exit %d, %q; want %d with %q", args, code, errOut.String(), exitUsage, want)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("wrong usage left %v, %v", left, err)
	}
}

// TestServe starts a plane twice on the same data.
func TestServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := serveOnce(t, dir)
	contextFile := filepath.Join(dir, "admin-context.yaml")
	before, err := operator.Read(contextFile)
	if err != nil || before.Address != "plane.example:7443" {
		t.Fatalf("context for %q, %v", before.Address, err)
	}
	for _, name := range []string{"admin-context.yaml", "secret.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want 0600", name, info, err)
		}
	}
	if second := serveOnce(t, dir); second != first {
		t.Errorf("pin %s after a restart, was %s", second, first)
	}
	if after, err := operator.Read(contextFile); err != nil || after != before {
		t.Errorf("the context file was written anew: %v", err)
	}
}

// serveOnce runs the plane until it is ready, and answers its pin.
func serveOnce(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out := &announcement{seen: make(chan string, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--advertise", "plane.example:7443", "--log-level", "error", "--unsafe-no-fsync"}, out, os.Stderr)
	}()
	var line string
	select {
	case line = <-out.seen:
	case c := <-code:
		t.Fatalf("ended with %d", c)
	}
	cancel()
	if c := <-code; c != 0 {
		t.Fatalf("exit %d after it was told to stop", c)
	}
	m := regexp.MustCompile(`^ready listen=127\.0\.0\.1:\d+ advertise=plane\.example:7443 ca-pin=(sha256:[0-9a-f]{64}) context=` + regexp.QuoteMeta(dir) + `/admin-context\.yaml\n$`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("announced %q", line)
	}
	return m[1]
}

// announcement hands over what is written to standard output.
type announcement struct{ seen chan string }

func (a *announcement) Write(b []byte) (int, error) {
	a.seen <- string(b)
	return len(b), nil
}

func TestSecondPlaneOnTheSameData(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	out := &announcement{seen: make(chan string, 1)}
	code := make(chan int, 1)
	args := []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--advertise", "h:1", "--log-level", "error", "--unsafe-no-fsync"}
	go func() { code <- run(ctx, args, out, os.Stderr) }()
	<-out.seen
	var errOut bytes.Buffer
	if c := run(ctx, args, &bytes.Buffer{}, &errOut); c != exitFailed || !strings.Contains(errOut.String(), "another hybrid-plane uses it") {
		t.Errorf("exit %d, %q", c, errOut.String())
	}
	cancel()
	<-code
}
