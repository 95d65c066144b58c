package lifecycle

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// TestAbortThatAFinalStepOvertook: an abort is answered while a final step is under
// way, and the process dies when that step was done but before the journal says
// so. What the step wrote decides: the operation goes on to its end.
func TestAbortThatAFinalStepOvertook(t *testing.T) {
	for step, kind := range map[string]agentv1.OperationKind{"record": repaveKind, "leaving": leaveKind} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := newNode(t, "", "")
			op := order(2, kind, newer)
			signed := optest.NewAuthority(t).Sign(t, op).GetOperation()
			died := make(chan struct{})
			var e *engine.Engine
			h.seam.Before = func(record journal.Record) {
				if record.Kind != journal.Done || record.Step != step {
					return
				}
				if _, err := e.Abort(op.GetId(), "local root"); err != nil {
					t.Errorf("Abort = %v", err)
				}
				close(died)
				runtime.Goexit()
			}
			e = h.engine()
			if err := e.Submit(op, signed); err != nil {
				t.Fatal(err)
			}
			<-died
			e.Close()
			h.seam.Before = func(journal.Record) {}
			e = h.engine()
			defer e.Close()
			if err := e.Resume(); err != nil {
				t.Fatal(err)
			}
			wantState(t, h.follow(e), succeeded)
			if step == "record" {
				h.wantNode("1.32.3", "")
				for _, name := range []string{"nodeconfig.yaml", heldFile} {
					if _, err := os.Stat(filepath.Join(h.options.Dir, name)); !os.IsNotExist(err) {
						t.Errorf("%s is left: %v", name, err)
					}
				}
			}
		})
	}
}
