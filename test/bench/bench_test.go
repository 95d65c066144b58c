package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/test/bench/floor"
)

// TestMain lets children of the harness run their roles from the test's binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-role" {
		if err := role(context.Background(), os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func quickEnv(t *testing.T) *env {
	t.Helper()
	e, err := newEnv()
	if err != nil {
		t.Fatal(err)
	}
	e.quick = true
	t.Cleanup(e.close)
	return e
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var samples []time.Duration
	for i := range 100 {
		samples = append(samples, time.Duration(100-i))
	}
	for p, want := range map[int]time.Duration{1: 1, 50: 50, 99: 99, 100: 100} {
		if got := percentile(samples, p); got != want {
			t.Errorf("p%d = %d, want %d", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 || percentile(samples[:1], 1) != 100 {
		t.Error("few samples")
	}
}

func TestTableFitsATerminal(t *testing.T) {
	t.Parallel()
	results := []Result{
		compare("net.push_to_kernel.p99.vs_tailscaled", "µs", 123456.7, 98765.4, 1.25, nil),
		compare("net.drift.p50", "µs", 300, 100, 2, nil),
		compare("no.goal", "ms", 1, 2, 0, map[string]float64{"peer": 1.23456}),
	}
	var b bytes.Buffer
	if err := writeTable(&b, results); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{"1.25", "MISSED", "met", "no.goal"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}

func TestJSONHasEveryKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "build", "bench.json")
	if err := writeJSON(path, []Result{compare("a", "ms", 3, 2, 0, nil)}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(b, &list); err != nil || len(list) != 1 {
		t.Fatalf("%s: %v", b, err)
	}
	for _, key := range []string{"id", "unit", "value", "floor", "ratio", "goal", "peers"} {
		if _, ok := list[0][key]; !ok {
			t.Errorf("no key %s in %s", key, b)
		}
	}
	if list[0]["goal"] != nil || list[0]["ratio"] != 1.5 {
		t.Errorf("%s", b)
	}
}

func TestUnknownPrefixIsAnError(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "bench.json")
	if err := run(t.Context(), []string{"nosuch."}, out); err == nil || !strings.Contains(err.Error(), "nosuch.") {
		t.Errorf("error %v", err)
	}
}

func TestDriftHarness(t *testing.T) {
	results, err := drift(t.Context(), quickEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Value <= 0 || r.Floor <= 0 || r.Goal == nil {
			t.Errorf("%+v", r)
		}
	}
}

// TestBulkHarness goes without bird, which a test must not download.
func TestBulkHarness(t *testing.T) {
	e := quickEnv(t)
	const n = 150
	for name, start := range map[string]func(context.Context, *env, int) (bulkSubject, error){
		"raw": startBulkRaw, "ours": startBulkOurs, "ip": startBulkIP,
	} {
		s, err := start(t.Context(), e, n)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for step := range bulkSteps {
			if err := s.write(t.Context(), step); err != nil {
				t.Errorf("%s, step %d: %v", name, step, err)
			}
		}
		if s, ok := s.(*bulkRaw); ok { // what is gone cannot be replaced: the floor notices
			if err := s.write(t.Context(), bulkReplace); err == nil {
				t.Error("the floor does not read its answers")
			}
		}
		s.stop()
	}
}

func TestListHarness(t *testing.T) {
	results, err := list(t.Context(), quickEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Value <= 0 || r.Floor <= 0 || r.Peers["vishvananda_strict"] <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestJournalHarness(t *testing.T) {
	results, err := opJournal(t.Context(), quickEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Value <= 0 || r.Floor <= 0 || r.Goal == nil {
		t.Errorf("%+v", r)
	}
}

// TestStepsOfAJournal: a step that was begun twice took all the time from its first begin.
func TestStepsOfAJournal(t *testing.T) {
	t.Parallel()
	var j opJournalOf
	const text = `{"records":[{"kind":"intent","step":"a","at":"2026-01-01T00:00:00Z"},{"kind":"failed","step":"a","at":"2026-01-01T00:00:01Z"},
		{"kind":"intent","step":"a","at":"2026-01-01T00:00:02Z"},{"kind":"done","step":"a","at":"2026-01-01T00:00:05Z"}]}`
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		t.Fatal(err)
	}
	if took := j.steps()["a"]; took != 5*time.Second {
		t.Errorf("step a took %s, want 5s", took)
	}
}

func TestPushFloor(t *testing.T) {
	e := quickEnv(t)
	s, err := startPushFloor(t.Context(), e, true)
	defer s.stop()
	if err != nil {
		t.Fatal(err)
	}
	for n := range pushWarmUp + 3 {
		if err := s.trial(t.Context(), n, make([]byte, 8<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.took) != 3 {
		t.Errorf("%d samples", len(s.took))
	}
}

func TestStartFloor(t *testing.T) {
	s, err := startFloor(t.Context(), quickEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.host.close()
	for range 3 {
		if _, err := s.trial(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChildrenDieWithTheirContext(t *testing.T) {
	h, err := newHost()
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	ctx, cancel := context.WithCancel(t.Context())
	c, err := h.startRole(ctx, "repair-raw", fmt.Sprint(h.link), "256")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := c.cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	if _, err := h.startRole(t.Context(), "nosuch"); err == nil || !strings.Contains(err.Error(), "unknown role") {
		t.Errorf("error %v", err)
	}
}

func TestEventReadsWhatMessageWrites(t *testing.T) {
	t.Parallel()
	r := vpcRoute(1, 7, 3)
	if kind, dst, bits := floor.Event(r.Message(24, 0)); kind != 24 || dst != r.Dst || bits != 16 {
		t.Errorf("kind %d, %v/%d", kind, dst, bits)
	}
	if kind, _, _ := floor.Event([]byte{1, 2}); kind != 0 {
		t.Error("a truncated message has a kind")
	}
}
