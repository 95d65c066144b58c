package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"hybridagent/systemd"
)

// manager is a systemd that keeps one unit. The real one is met in the tests on
// systemd hosts.
type manager struct {
	mutex   sync.Mutex
	unit    *systemd.TransientUnit
	exit    *systemd.UnitExit
	failing int // how many calls of Exit fail from now on
	removed int
	started int
	calls   []string
	refuses error // what Start and Remove return
}

func (m *manager) Start(_ context.Context, unit systemd.TransientUnit) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.started++
	m.calls = append(m.calls, "start "+unit.Name)
	m.unit = &unit
	if m.refuses != nil {
		return m.refuses
	}
	return os.WriteFile(unit.Output, []byte("a line\n"), 0o600)
}

func (m *manager) Exit(ctx context.Context, _ string) (systemd.UnitExit, bool, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	switch {
	case ctx.Err() != nil:
		return systemd.UnitExit{}, false, ctx.Err()
	case m.failing > 0:
		m.failing--
		return systemd.UnitExit{}, false, errors.New("the bus is gone")
	case m.unit == nil:
		return systemd.UnitExit{}, false, systemd.ErrNoUnit
	case m.exit == nil:
		return systemd.UnitExit{}, false, nil
	}
	return *m.exit, true, nil
}

func (m *manager) Remove(_ context.Context, name string) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.calls = append(m.calls, "remove "+name)
	if m.refuses != nil {
		return m.refuses
	}
	m.removed++
	m.unit = nil
	return nil
}

func (m *manager) Close() {}

func (m *manager) end(exit systemd.UnitExit) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.exit = &exit
}

func newSystemd(t *testing.T, m *manager) *Systemd {
	t.Helper()
	return &Systemd{log: zaptest.NewLogger(t), dir: t.TempDir(), open: func(context.Context) (unitManager, error) { return m, nil }}
}

func command() Command {
	return Command{ID: "op-step-1", OperationID: "op", Path: "/usr/bin/nodeadm", Args: []string{"init"}, Env: []string{"A=b"}}
}

func TestSystemdRun(t *testing.T) {
	m := &manager{}
	s := newSystemd(t, m)
	var lines []string
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result, err := s.Run(ctx, command(), func(line string) {
		lines = append(lines, line)
		if active, err := s.Active(ctx, "op-step-1"); !active || err != nil {
			t.Errorf("Active = %v, %v", active, err)
		}
		unit := *m.unit
		if unit.Name != "hybrid-agent-run-op-step-1.service" || strings.Join(unit.Argv, " ") != "/usr/bin/nodeadm init" ||
			unit.Fields["HYBRID_OPERATION_ID"] != "op" || unit.MaxRuntime < time.Minute {
			t.Errorf("unit = %+v", unit)
		}
		m.failing = 2 // systemd is away for a moment
		m.end(systemd.UnitExit{Code: 1})
	})
	if err != nil || result != (Result{Code: 1}) || strings.Join(lines, "|") != "a line" || m.removed != 1 {
		t.Errorf("Run = %+v, %v, lines %q, removed %d", result, err, lines, m.removed)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*")); len(left) > 0 {
		t.Errorf("output is left: %v", left)
	}
}

func TestSystemdDeadline(t *testing.T) {
	m := &manager{}
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	result, err := newSystemd(t, m).Run(ctx, command(), func(string) {})
	if err != nil || !result.Deadline || m.removed != 1 {
		t.Errorf("Run = %+v, %v, removed %d", result, err, m.removed)
	}
}

// TestSystemdOutlivesUs stops following in the middle and attaches again: the
// unit goes on meanwhile and its result is not lost.
func TestSystemdOutlivesUs(t *testing.T) {
	m := &manager{}
	s := newSystemd(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Run(ctx, command(), func(string) { cancel() })
	if !errors.Is(err, context.Canceled) || m.removed != 0 || m.unit == nil {
		t.Fatalf("Run = %v, removed %d", err, m.removed)
	}
	m.end(systemd.UnitExit{})
	var lines []string
	result, err := s.Run(t.Context(), command(), func(line string) { lines = append(lines, line) })
	if err != nil || result != (Result{}) || m.started != 1 || strings.Join(lines, "|") != "a line" {
		t.Errorf("Run = %+v, %v, started %d times, lines %q", result, err, m.started, lines)
	}
}

func TestSystemdUnitTakenAway(t *testing.T) {
	m := &manager{}
	_, err := newSystemd(t, m).Run(t.Context(), command(), func(string) { m.unit = nil })
	if !errors.Is(err, systemd.ErrNoUnit) {
		t.Errorf("Run = %v", err)
	}
}

// TestSystemdNeverTwoAtOnce checks that a run which is not known to have ended
// is stopped before the next one starts, and that nothing starts while it cannot
// be.
func TestSystemdNeverTwoAtOnce(t *testing.T) {
	m := &manager{}
	s := newSystemd(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Run(ctx, command(), func(string) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run = %v", err)
	}
	next := command()
	next.ID = "op2-step-1"
	m.refuses = errors.New("no answer")
	if _, err := s.Run(t.Context(), next, func(string) {}); err == nil || !strings.Contains(err.Error(), "op-step-1 may still run: no answer") {
		t.Errorf("Run beside one that cannot be stopped = %v", err)
	}
	m.refuses, m.calls = nil, nil
	if _, err := s.Run(t.Context(), next, func(string) { m.end(systemd.UnitExit{}) }); err != nil {
		t.Errorf("Run = %v", err)
	}
	want := "remove hybrid-agent-run-op-step-1.service, start hybrid-agent-run-op2-step-1.service, remove hybrid-agent-run-op2-step-1.service"
	if got := strings.Join(m.calls, ", "); got != want {
		t.Errorf("calls = %s, want %s", got, want)
	}
}

// TestSystemdKeepsTrackOfWhatItCannotEnd checks that a unit whose start or end
// went wrong is stopped later.
func TestSystemdKeepsTrackOfWhatItCannotEnd(t *testing.T) {
	m := &manager{refuses: errors.New("no answer")}
	s := newSystemd(t, m)
	if _, err := s.Run(t.Context(), command(), func(string) {}); err == nil {
		t.Error("a start that went wrong is no error")
	}
	if ids, err := unfinished(s.dir); err != nil || strings.Join(ids, " ") != "op-step-1" {
		t.Errorf("unfinished = %v, %v", ids, err)
	}
	m.refuses = nil
	if err := s.Stop(t.Context(), "op-step-1"); err != nil || m.unit != nil {
		t.Errorf("Stop = %v, unit %v", err, m.unit)
	}
	if ids, err := unfinished(s.dir); err != nil || len(ids) > 0 {
		t.Errorf("unfinished = %v, %v", ids, err)
	}
}

// TestSystemdStopsParts: a step that runs several programs names each after itself,
// and only the step is known to who stops it.
func TestSystemdStopsParts(t *testing.T) {
	m := &manager{}
	s := newSystemd(t, m)
	for _, id := range []string{"op-step-1-install", "op-step-11"} {
		out, err := createOutput(s.dir, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Stop(t.Context(), "op-step-1"); err != nil {
		t.Fatal(err)
	}
	want := "remove hybrid-agent-run-op-step-1-install.service, remove hybrid-agent-run-op-step-1.service"
	if got := strings.Join(m.calls, ", "); got != want {
		t.Errorf("calls = %s, want %s", got, want)
	}
	if ids, err := unfinished(s.dir); err != nil || strings.Join(ids, " ") != "op-step-11" {
		t.Errorf("unfinished = %v, %v", ids, err)
	}
}
