package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/agent/neighbours"
	"hybridagent/systemd"
)

// setUp runs host-setup for a host whose files are below root, as that user.
func setUp(t *testing.T, root string, uid int, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	host := neighbours.Host{
		Root: root,
		Units: func(_ context.Context, names ...string) ([]systemd.UnitState, error) {
			states := make([]systemd.UnitState, 0, len(names))
			for _, name := range names {
				states = append(states, systemd.UnitState{Name: name, Active: map[bool]string{true: "active", false: "inactive"}[name == "systemd-networkd.service"]})
			}
			return states, nil
		},
		Version: func(context.Context) (string, error) { return "252.39-1~deb12u2", nil },
	}
	cmd := newHostSetupOn(host, uid)
	var out, errs bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return exit.code, out.String(), exit.Error()
	case err != nil:
		return exitUsage, out.String(), err.Error()
	}
	return 0, out.String(), ""
}

func TestHostSetupWritesAndUndoes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, neighbours.DropInPath)
	if code, out, _ := setUp(t, root, 1000, "networkd", "--dry-run"); code != 0 || !strings.Contains(out, "would write "+neighbours.DropInPath) ||
		!strings.Contains(out, "  ManageForeignRoutes=no\n") {
		t.Errorf("dry run: exit %d, %q", code, out)
	}
	if code, _, said := setUp(t, root, 1000, "networkd"); code != exitUnhealthy || !strings.Contains(said, "only root may") {
		t.Errorf("as a user: exit %d, %q", code, said)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("the file was written all the same")
	}
	code, out, _ := setUp(t, root, 0, "networkd")
	if _, err := os.Stat(path); code != 0 || err != nil || !strings.Contains(out, "It takes effect with: systemctl restart systemd-networkd\n") {
		t.Errorf("exit %d, %v, %q", code, err, out)
	}
	for _, line := range strings.Split(out, "\n") {
		if len(line) > width {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if code, out, _ := setUp(t, root, 0, "networkd"); code != 0 || !strings.HasPrefix(out, "nothing to do") {
		t.Errorf("again: exit %d, %q", code, out)
	}
	var change neighbours.Change
	code, out, _ = setUp(t, root, 0, "networkd", "--undo", "-o", "json")
	if err := json.Unmarshal([]byte(out), &change); code != 0 || err != nil || change.Action != "remove" || !change.Done {
		t.Errorf("undo: exit %d, %v, %q", code, err, out)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is still there")
	}
}

func TestHostSetupShowsNeighbours(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	code, out, _ := setUp(t, root, 1000)
	if code != 0 || !strings.Contains(out, "networkd        disturbs\n") {
		t.Errorf("exit %d\n%s", code, out)
	}
	for _, line := range strings.Split(out, "\n") {
		if len(line) > width {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	wants := filepath.Join(root, "etc/systemd/system/timers.target.wants")
	if err := errors.Join(os.MkdirAll(wants, 0o755), os.Symlink("/nowhere", filepath.Join(wants, "nm-cloud-setup.timer"))); err != nil {
		t.Fatal(err)
	}
	code, out, _ = setUp(t, root, 1000, "-o", "yaml")
	if code != exitUnhealthy || !strings.Contains(out, "verdict: conflicts") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestHostSetupUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"host-setup", "frobnicate"}, {"host-setup", "-o", "xml"}, {"host-setup", "networkd", "-o", "xml"}, {"host-setup", "networkd", "--frobnicate"}} {
		if code, _, stderr := run(t, args...); code != exitUsage || !strings.HasPrefix(stderr, "hybrid-agent: ") {
			t.Errorf("%v: exit %d, %q", args, code, stderr)
		}
	}
	for _, args := range [][]string{{"host-setup", "--help"}, {"host-setup", "networkd", "--help"}} {
		_, stdout, _ := run(t, args...)
		if !strings.Contains(strings.ReplaceAll(stdout, "\n", " "), "Exit codes:") {
			t.Errorf("%v: %q", args, stdout)
		}
		for _, line := range strings.Split(stdout, "\n") {
			if len(line) > width && !strings.HasPrefix(line, "Use ") { // cobra's own
				t.Errorf("%v: %d columns: %s", args, len(line), line)
			}
		}
	}
}
