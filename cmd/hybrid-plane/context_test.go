package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/plane/operator"
)

func TestContext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	serveOnce(t, dir)
	file := filepath.Join(dir, "admin-context.yaml")
	before, err := operator.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	fresh := func(args ...string) operator.Context {
		t.Helper()
		var out, errOut bytes.Buffer
		if code := run(t.Context(), append([]string{"context", "--data", dir}, args...), &out, &errOut); code != 0 || !strings.Contains(out.String(), file) {
			t.Fatalf("exit %d, %q, %q", code, out.String(), errOut.String())
		}
		c, err := operator.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.TLS(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	after := fresh()
	if after.Address != before.Address || after.CA != before.CA || after.Certificate == before.Certificate {
		t.Errorf("the fresh context is for %s, was for %s; certificate renewed: %v", after.Address, before.Address, after.Certificate != before.Certificate)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	var errOut bytes.Buffer
	if code := run(t.Context(), []string{"context", "--data", dir}, &bytes.Buffer{}, &errOut); code != exitFailed || !strings.Contains(errOut.String(), "give it with --advertise") {
		t.Errorf("without the former file: exit %d, %q", code, errOut.String())
	}
	if c := fresh("--advertise", "new.example:1"); c.Address != "new.example:1" {
		t.Errorf("context for %s", c.Address)
	}
}

func TestContextWhileThePlaneRuns(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	out := &announcement{seen: make(chan string, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--advertise", "h:1", "--log-level", "error", "--unsafe-no-fsync"}, out, os.Stderr)
	}()
	<-out.seen
	var errOut bytes.Buffer
	if c := run(t.Context(), []string{"context", "--data", dir}, &bytes.Buffer{}, &errOut); c != exitFailed ||
		!strings.Contains(errOut.String(), "a running hybrid-plane uses it; it renews") || !strings.Contains(errOut.String(), "stop it first") {
		t.Errorf("exit %d, %q", c, errOut.String())
	}
	cancel()
	<-code
}

func TestContextWrongUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"--data is missing":      {"context"},
		`--advertise "h" is no`:  {"context", "--data", "x", "--advertise", "h"},
		`unknown command "x" fo`: {"context", "x"},
	} {
		var errOut bytes.Buffer
		if code := run(t.Context(), args, &bytes.Buffer{}, &errOut); code != exitUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%v: exit %d, %q", args, code, errOut.String())
		}
	}
	var errOut bytes.Buffer
	if code := run(t.Context(), []string{"context", "--data", t.TempDir()}, &bytes.Buffer{}, &errOut); code != exitFailed || !strings.Contains(errOut.String(), "is no data directory of a plane") {
		t.Errorf("exit %d, %q", code, errOut.String())
	}
}
