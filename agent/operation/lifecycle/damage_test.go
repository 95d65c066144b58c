package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/applied"
	"hybridagent/agent/operation/journal"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// damages are the ways in which a disk ruins a file.
var damages = map[string]func([]byte) []byte{
	"empty":     func([]byte) []byte { return nil },
	"truncated": func(whole []byte) []byte { return whole[:len(whole)/2] },
	"garbage":   func(whole []byte) []byte { return []byte(strings.Repeat("\x00garbage\n", len(whole)/9+1)) },
}

// snapshot reads every file of root's state.
func (h *host) snapshot() map[string][]byte {
	h.t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(h.options.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[path] = read(h.t, path)
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return files
}

// restore makes root's state what it was.
func (h *host) restore(files map[string][]byte) {
	h.t.Helper()
	for path := range h.snapshot() {
		remove(h.t, path)
	}
	for path, content := range files {
		write(h.t, path, content)
	}
}

// eachDamage calls check with each file of a state damaged in each way.
func (h *host) eachDamage(check func(t *testing.T, file string)) {
	files := h.snapshot()
	for path, content := range files {
		name := filepath.Base(path)
		for damage, ruin := range damages {
			h.t.Run(name+" "+damage, func(t *testing.T) {
				h.restore(files)
				write(t, path, ruin(content))
				check(t, name)
			})
		}
	}
}

// TestEveryDamagedFileOfAProvisionedHost: whatever file of root's is damaged,
// the next operation runs, an old one is refused, and the host knows what it is.
func TestEveryDamagedFileOfAProvisionedHost(t *testing.T) {
	h := newHost(t, "", "")
	wantState(t, h.provision(optest.Operation(5)), succeeded)
	h.eachDamage(func(t *testing.T, _ string) {
		e := h.engine()
		defer e.Close()
		if err := e.Resume(); err != nil {
			t.Errorf("Resume = %v", err)
		}
		if state, found, _ := applied.ReadState(h.options.Dir); !found || state.OperationID != optest.Operation(5).GetId() {
			t.Errorf("applied = %+v, %v", state, found)
		}
		if err := e.Submit(optest.Operation(4), nil); refusedAs(err) != agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE {
			t.Errorf("an old operation: %v", err)
		}
		if e.Busy() {
			// A journal without its end is first brought to one.
			h.follow(e)
		}
		next := optest.Operation(6)
		if err := e.Submit(next, optest.NewAuthority(t).Sign(t, next).GetOperation()); err != nil {
			t.Fatalf("the next operation: %v", err)
		}
		wantState(t, h.follow(e), succeeded)
	})
}

// TestEveryDamagedFileOfAnInterruptedOperation: the operation is taken up, or
// comes to an end that says why not, and the next one runs.
func TestEveryDamagedFileOfAnInterruptedOperation(t *testing.T) {
	h := newHost(t, "", "")
	crashed := make(chan struct{})
	h.seam.Before = func(record journal.Record) {
		if record.Kind == journal.Intent && record.Step == "nodeadm-init" {
			close(crashed)
			runtime.Goexit()
		}
	}
	op := optest.Operation(5)
	signed := optest.NewAuthority(t).Sign(t, op).GetOperation()
	first := h.engine()
	if err := first.Submit(op, signed); err != nil {
		t.Fatal(err)
	}
	<-crashed
	first.Close()
	h.seam.Before = func(journal.Record) {}
	h.eachDamage(func(t *testing.T, file string) {
		e := h.engine()
		defer e.Close()
		if err := e.Resume(); err != nil {
			t.Errorf("Resume = %v", err)
		}
		// The plane sends it again until it has an answer.
		if err := e.Submit(op, signed); err != nil {
			t.Fatalf("the same operation again: %v", err)
		}
		if strings.HasSuffix(file, ".operation") {
			wantState(t, h.follow(e), failed, "cannot be resumed", "submit a new one")
		} else {
			wantState(t, h.follow(e), succeeded)
		}
		next := optest.Operation(6)
		if err := e.Submit(next, optest.NewAuthority(t).Sign(t, next).GetOperation()); err != nil {
			t.Fatalf("the next operation: %v", err)
		}
		wantState(t, h.follow(e), succeeded)
	})
}

// TestLostRecord damages the record of what was applied and its copy: a
// provision is allowed again, and the operator is told that it takes one. It moves
// the pods away first, as they run all the same.
func TestLostRecord(t *testing.T) {
	h := newNode(t, "", "")
	pod := filepath.Join(h.root, "var/lib/kubelet/pods/0a")
	if err := os.MkdirAll(pod, 0o755); err != nil {
		t.Fatal(err)
	}
	if lost := applied.Lost(h.options.Dir); lost != "" {
		t.Errorf("Lost = %q", lost)
	}
	for _, name := range []string{"applied", "applied.copy"} {
		if err := os.Truncate(filepath.Join(h.options.Dir, name), 10); err != nil {
			t.Fatal(err)
		}
	}
	_, found, err := applied.ReadState(h.options.Dir)
	if found || err == nil || !strings.Contains(err.Error(), "hybridctl provision") || !strings.Contains(err.Error(), "applied.corrupt-1") {
		t.Errorf("ReadState = %v, %v", found, err)
	}
	if lost := applied.Lost(h.options.Dir); !strings.Contains(lost, "hybridctl provision") {
		t.Errorf("Lost = %q", lost)
	}
	h.kube.set("down", "")
	wantState(t, h.provision(order(2, provisionKind, newer)), failed, "they cannot be moved away", "leave --force")
	h.wantCalls()
	h.kube.clear("down")
	wantState(t, h.provision(order(3, provisionKind, newer)), succeeded)
	h.wantNode("1.32.3", "")
	h.wantCalls("config check", "install 1.32.3 ", "init ")
	if h.kube.drains != 1 {
		t.Errorf("drained %d times", h.kube.drains)
	}
	if lost := applied.Lost(h.options.Dir); lost != "" {
		t.Errorf("Lost = %q", lost)
	}
}

func refusedAs(err error) agentv1.DoorRefusalReason {
	var refusal *operation.Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return 0
}
