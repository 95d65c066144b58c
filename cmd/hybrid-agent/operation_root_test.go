package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/door"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// opDouble runs one operation, which goes on until it is aborted or let go.
type opDouble struct {
	mutex   sync.Mutex
	last    *agentv1.OperationProgress
	changed chan struct{}
	aborts  []string
}

func (o *opDouble) Submit(*agentv1.Operation, []byte) error { return nil }

func (o *opDouble) Follow(ctx context.Context, _ string, send func(*agentv1.OperationProgress) error) error {
	for {
		o.mutex.Lock()
		last, changed := o.last, o.changed
		o.mutex.Unlock()
		if last == nil {
			return operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION, "there was no operation on this host yet")
		}
		if err := send(last); err != nil || operation.Ended(last.GetState()) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (o *opDouble) become(p *agentv1.OperationProgress) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.last = p
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *opDouble) abort(id, by string) (string, error) {
	o.mutex.Lock()
	o.aborts = append(o.aborts, id+" by "+by)
	final := !o.last.GetAbortable()
	o.mutex.Unlock()
	if final {
		return "", operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION, "it is past the point of return")
	}
	o.become(ended(time.Now(), agentv1.OperationState_OPERATION_STATE_ABORTED, "aborted by local root; the node was uncordoned"))
	return id, nil
}

func (o *opDouble) submitLocal(kind agentv1.OperationKind, force bool) (string, error) {
	if force {
		return "", operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY, "another operation runs")
	}
	end := ended(time.Now(), agentv1.OperationState_OPERATION_STATE_SUCCEEDED, "every step was done")
	end.Kind = kind
	o.become(end)
	return end.GetOperationId(), nil
}

// serveOp opens a real door before the double.
func serveOp(t *testing.T, o *opDouble, localRoot bool) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "op") // a short path: socket addresses are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "op.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	o.changed = make(chan struct{})
	served := door.New(zaptest.NewLogger(t), door.Options{
		Allowed: func(uint32) bool { return true }, LocalRoot: localRoot, Operations: o, Abort: o.abort, SubmitLocal: o.submitLocal,
		Forecast: func(context.Context, *agentv1.ForecastRequest) (*agentv1.Forecast, error) { return forecast(), nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- served.Serve(ctx, listener) }()
	t.Cleanup(func() { cancel(); <-done })
	return path
}

func TestOperationAbort(t *testing.T) {
	t.Parallel()
	o := &opDouble{}
	socket := serveOp(t, o, true)
	code, _, stderr := run(t, "operation", "abort", "--yes", "--socket", socket)
	if code != exitUnhealthy || !strings.Contains(stderr, "refused: there was no operation on this host yet") {
		t.Errorf("none: exit %d, %q", code, stderr)
	}
	o.become(underWay(time.Now()))
	code, stdout, stderr := run(t, "operation", "abort", "--socket", socket)
	if code != exitUsage || !strings.Contains(stderr, "call it with --yes") || len(o.aborts) != 0 {
		t.Errorf("nobody to ask: exit %d, %q, %q, %v", code, stdout, stderr, o.aborts)
	}
	code, stdout, stderr = run(t, "operation", "abort", "--yes", "--socket", socket)
	want := "repave k5usvxksot7mtg3kemgitu56yq is at drain, 40 %. What these steps have\n" +
		"changed will be taken back, the last first: preflight, drain.\n" +
		"repave aborted at drain\n" +
		"aborted by local root; the node was uncordoned\n"
	if code != 0 || stdout != want {
		t.Errorf("exit %d, %q\n%s\nwant\n%s", code, stderr, stdout, want)
	}
	if got := strings.Join(o.aborts, "; "); got != testOperation+" by local root" {
		t.Errorf("aborted: %s", got)
	}
	code, _, stderr = run(t, "operation", "abort", "--yes", "--socket", socket)
	if code != exitUnhealthy || !strings.Contains(stderr, "it has ended (aborted)") {
		t.Errorf("again: exit %d, %q", code, stderr)
	}
}

func TestOperationAbortTooLate(t *testing.T) {
	t.Parallel()
	o := &opDouble{}
	socket := serveOp(t, o, true)
	final := underWay(time.Now())
	final.Abortable = false
	o.become(final)
	code, stdout, stderr := run(t, "operation", "abort", "--yes", "--socket", socket)
	if code != exitUnhealthy || !strings.Contains(stderr, "refused: it is past the point of return") || !strings.Contains(stdout, "an abort will be refused") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}

func TestLocalOperations(t *testing.T) {
	t.Parallel()
	socket := serveOp(t, &opDouble{}, true)
	for command, want := range map[string]string{"repair": "repave succeeded\nevery step was done\n", "leave": "leave succeeded\nevery step was done\n"} {
		code, stdout, stderr := run(t, "operation", command, "--yes", "--socket", socket)
		if code != 0 || !strings.HasSuffix(stdout, want) {
			t.Errorf("%s: exit %d, %q, %q", command, code, stdout, stderr)
		}
		if command == "leave" && !strings.Contains(stdout, "- preflight: check API") {
			t.Errorf("leave does not say what it does: %q", stdout)
		}
		if code, _, _ = run(t, "operation", command, "--socket", socket); code != exitUsage {
			t.Errorf("%s without an answer: exit %d", command, code)
		}
		code, _, stderr = run(t, "operation", command, "--yes", "--force", "--socket", socket)
		if code != exitUnhealthy || !strings.Contains(stderr, "refused: another operation runs") {
			t.Errorf("%s --force: exit %d, %q", command, code, stderr)
		}
	}
}

// TestLocalOperationsWithoutSystemd: root cannot be told from the daemon there.
func TestLocalOperationsWithoutSystemd(t *testing.T) {
	t.Parallel()
	socket := serveOp(t, &opDouble{}, false)
	code, _, stderr := run(t, "operation", "leave", "--yes", "--socket", socket)
	if code != exitUnreachable || !strings.Contains(stderr, "have the plane sign it (take the host out of its pool with hybridctl apply)") {
		t.Errorf("exit %d, %q", code, stderr)
	}
	code, _, stderr = run(t, "operation", "leave", "--yes", "--socket", socket+".none")
	if code != exitUnreachable || !strings.Contains(stderr, "is hybrid-agent-op.socket started?") {
		t.Errorf("no door: exit %d, %q", code, stderr)
	}
}

func TestAnswered(t *testing.T) {
	t.Parallel()
	for answer, yes := range map[string]bool{"y\n": true, "Yes\n": true, "yes": true, "\n": false, "": false, "no\n": false, "yy\n": false} {
		var out bytes.Buffer
		err := answered(strings.NewReader(answer), &out, "End it?")
		if yes && err != nil || !yes && !errors.Is(err, errDeclined) || out.String() != "End it? [y/N] " {
			t.Errorf("%q: %v, %q", answer, err, out.String())
		}
	}
}
