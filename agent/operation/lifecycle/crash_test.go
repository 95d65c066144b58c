package lifecycle

import (
	"runtime"
	"sync/atomic"
	"testing"

	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
)

// TestCrashAtEveryJournalWrite ends the process, as far as one goroutine can be
// a process, before and after every record that goes to disk, and then starts
// anew: the operation must succeed all the same, without one try too many.
func TestCrashAtEveryJournalWrite(t *testing.T) {
	points := 2 * journalWrites(t)
	recovered := 0
	for point := range points {
		if crashAt(t, point) {
			recovered++
		}
	}
	t.Logf("%d crash points, %d recovered", points, recovered)
	if recovered != points {
		t.Errorf("%d of %d crash points recovered", recovered, points)
	}
}

// journalWrites counts the records of a run without a crash.
func journalWrites(t *testing.T) int {
	t.Helper()
	h := newHost(t, "", "")
	writes := 0
	h.seam.After = func(journal.Record) { writes++ }
	wantState(t, h.provision(optest.Operation(1)), succeeded)
	return writes
}

func crashAt(t *testing.T, point int) bool {
	t.Helper()
	h := newHost(t, "", "")
	crashed := make(chan struct{})
	var passed atomic.Int64
	crash := func(journal.Record) {
		if int(passed.Add(1))-1 == point {
			close(crashed)
			// Nothing after this line runs, deferred functions aside: what is on
			// disk is what a killed process would have left.
			runtime.Goexit()
		}
	}
	h.seam = journal.Seam{Before: crash, After: crash}
	op := optest.Operation(1)
	signed := optest.NewAuthority(t).Sign(t, op).GetOperation()
	first := h.engine()
	go func() { _ = first.Submit(op, signed) }()
	<-crashed
	first.Close()

	h.seam = journal.Seam{Before: func(journal.Record) {}, After: func(journal.Record) {}}
	second := h.engine()
	defer second.Close()
	if err := second.Resume(); err != nil {
		t.Errorf("point %d: Resume: %v", point, err)
		return false
	}
	// The plane sends the operation again until it has an answer.
	if err := second.Submit(op, signed); err != nil {
		t.Errorf("point %d: Submit: %v", point, err)
		return false
	}
	return h.recovered(second, point)
}

func (h *host) recovered(e *engine.Engine, point int) bool {
	h.t.Helper()
	end := h.follow(e)
	state, found, err := applied.ReadState(h.options.Dir)
	switch {
	case end.GetState() != succeeded:
		h.t.Errorf("point %d: ended as %v: %s", point, end.GetState(), end.GetMessage())
	case err != nil || !found || state.OperationID != end.GetOperationId():
		h.t.Errorf("point %d: applied state = %+v, %v, %v", point, state, found, err)
	case len(h.calls()) > 4:
		// Three commands, of which the one that was cut short runs once more.
		h.t.Errorf("point %d: nodeadm ran %d times: %q", point, len(h.calls()), h.calls())
	default:
		return true
	}
	return false
}
