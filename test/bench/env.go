package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// env is what the measurements of one run share.
type env struct {
	dir      string // removed at the end
	binaries map[string]string
	quick    bool // a handful of trials, to test the harness
}

// trials is how many of n to run.
func (e *env) trials(n int) int {
	if e.quick {
		return min(n, 5)
	}
	return n
}

func newEnv() (*env, error) {
	dir, err := os.MkdirTemp("", "hybrid-agent-bench-")
	if err != nil {
		return nil, err
	}
	return &env{dir: dir, binaries: map[string]string{}}, nil
}

func (e *env) close() { _ = os.RemoveAll(e.dir) }

// build compiles a command of this module as it is shipped and returns the
// binary's path; once per run.
func (e *env) build(ctx context.Context, pkg string) (string, error) {
	if path, ok := e.binaries[pkg]; ok {
		return path, nil
	}
	path := filepath.Join(e.dir, filepath.Base(pkg))
	// The Makefile's own flags, for ours and for floors alike.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build %s: %w\n%s", pkg, err, out)
	}
	e.binaries[pkg] = path
	return path, nil
}
