package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	"hybridagent/agent/store"
)

// firstFormat makes the state of an operation one that the first version of the
// journal would have left: no plan, a sequence without what runs.
func firstFormat(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "operations", id26(1)+".journal")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		var record map[string]any
		if err := json.Unmarshal([]byte(line[9:]), &record); err != nil {
			t.Fatal(err)
		}
		if record["kind"] == string(journal.Planned) {
			continue
		}
		if record["schema"] != nil {
			record["schema"] = 1
		}
		body, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%08x %s\n", crc32.ChecksumIEEE(body), body)
	}
	write(t, path, lines.String())
	if err := store.Write(filepath.Join(dir, "operations", "sequence"), 1, fmt.Appendf(nil, `{"epoch":1,"counter":1,"id":%q}`, id26(1))); err != nil {
		t.Fatal(err)
	}
}

// TestOperationOfTheFirstFormatIsResumed: the agent was upgraded in the middle of
// an operation. What was done stays so, the plan is made and kept, and the end is
// in today's format.
func TestOperationOfTheFirstFormatIsResumed(t *testing.T) {
	t.Parallel()
	dir, firsts := t.TempDir(), 0
	first := Step{Name: "first", Percent: 10, Do: func(context.Context, Run) error { firsts++; return nil }}
	step, begun := hanging(nothing)
	b := start(t, dir, first, step)
	if err := b.submit(optest.Operation(1)); err != nil {
		t.Fatal(err)
	}
	<-begun
	b.Close()
	firstFormat(t, dir)
	step.Do = nothing
	b = startPlan(t, dir, Plan{Kept: []byte("kept"), Steps: []Step{first, step}})
	if end := b.end(""); end.GetStep() != "hang" || end.GetOperationId() != id26(1) {
		t.Errorf("before it is resumed: %v", end)
	}
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	if end := b.end(""); end.GetState() != succeeded || firsts != 1 {
		t.Errorf("end = %v, the first step was done %d times", end, firsts)
	}
	b.Close()
	journals, err := journal.Open(filepath.Join(dir, "operations"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := journals.Peek(id26(1))
	if err != nil {
		t.Fatal(err)
	}
	if kept, planned := j.Kept(); !planned || string(kept) != "kept" || j.Records()[0].Schema != journal.Schema {
		t.Errorf("kept %q, %v; schema %d", kept, planned, j.Records()[0].Schema)
	}
}
