package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/nodeadm"
)

// TestOneNextAction: a node that was not brought back is not mended by kubectl
// uncordon, whatever else failed, and also where a restart has left only texts.
func TestOneNextAction(t *testing.T) {
	t.Parallel()
	cordoned := error(&nextActionError{errors.New("cannot uncordon node edge-1: no answer"), uncordonAction("edge-1")})
	named := error(&nextActionError{errors.New("cannot return"), "provision the host"})
	const repair = "repair --force on the host"
	for _, c := range []struct {
		name        string
		held, after error
		want        string
	}{
		{"only the cordon", nil, cordoned, "kubectl uncordon edge-1"},
		{"only the cordon, of before a restart", nil, errors.New(cordoned.Error()), "kubectl uncordon edge-1"},
		{"the way back too", errors.New("nodeadm init failed"), cordoned, repair},
		{"the way back too, which knows what to do", named, cordoned, "provision the host"},
		{"only the way back", errors.New("nodeadm init failed"), nil, repair},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &job{Options: Options{Dir: t.TempDir()}, op: order(2, repaveKind, newer), known: true, redactor: nodeadm.NewRedactor()}
			p.decided.NodeName = "edge-1"
			var undone []error
			for _, failed := range []struct {
				step string
				err  error
			}{{"hold-former", c.held}, {"cordon", c.after}} {
				if failed.err != nil {
					undone = append(undone, stepError(failed.step, failed.err))
				}
			}
			text := p.conclude(t.Context(), errors.New("nodeadm upgrade failed"), undone)
			if _, action, _ := strings.Cut(text, "next action: "); !strings.Contains(action, c.want) || strings.Count(text, "next action: ") != 1 {
				t.Errorf("message = %q, want %q as the only action", text, c.want)
			}
		})
	}
}

// stepError is how the engine tells of an undo that failed.
func stepError(step string, err error) error {
	return &wrapped{"cannot take back step " + step + ": " + err.Error(), err}
}

type wrapped struct {
	text string
	err  error
}

func (w *wrapped) Error() string { return w.text }
func (w *wrapped) Unwrap() error { return w.err }

// TestFailurePastTheRecord: what cannot be tidied away is named, and the node is
// what it has become.
func TestFailurePastTheRecord(t *testing.T) {
	t.Parallel()
	h := newNode(t, "", "")
	file := filepath.Join(h.options.Dir, heldFile)
	h.onUpgraded(func() {
		remove(t, file)
		if err := os.MkdirAll(filepath.Join(file, "kept"), 0o700); err != nil {
			t.Error(err)
		}
	})
	end := h.provision(order(2, repaveKind, newer))
	wantState(t, end, failed, "the node is Kubernetes 1.32.3", "next action: remove "+file)
	if strings.Contains(end.GetMessage(), "1.31.5") || !strings.HasSuffix(end.GetMessage(), "remove "+file) {
		t.Errorf("message = %q", end.GetMessage())
	}
}
