package door

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engineDouble notes what is submitted and follows nothing to its end.
type engineDouble struct {
	mutex     sync.Mutex
	submitted []string
	refusal   error
	// hold keeps followers until it is closed.
	hold chan struct{}
}

func (e *engineDouble) Submit(op *agentv1.Operation, _ []byte) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.refusal != nil {
		return e.refusal
	}
	e.submitted = append(e.submitted, op.GetId())
	return nil
}

func (e *engineDouble) Follow(ctx context.Context, id string, send func(*agentv1.OperationProgress) error) error {
	running := &agentv1.OperationProgress{OperationId: id, State: agentv1.OperationState_OPERATION_STATE_RUNNING}
	if err := send(running); err != nil {
		return err
	}
	select {
	case <-e.hold:
	case <-ctx.Done():
		return ctx.Err()
	}
	return send(&agentv1.OperationProgress{OperationId: id, State: agentv1.OperationState_OPERATION_STATE_SUCCEEDED})
}

// bench is a door with a socket.
type bench struct {
	t      *testing.T
	path   string
	ca     *optest.Authority
	engine *engineDouble
	client *operation.Client
	door   *Door
}

func open(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "door")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bench{t: t, path: filepath.Join(dir, "op.sock"), ca: optest.NewAuthority(t), engine: &engineDouble{hold: make(chan struct{})}}
	b.client = operation.NewClient(b.path)
	options := Options{
		Trust: b.ca.Trust(), Operations: b.engine,
		Allowed:                func(uint32) bool { return true },
		NodeKeyCSR:             func() ([]byte, error) { return []byte("csr"), nil },
		InstallNodeCertificate: func(der []byte) error { return errors.New("cannot use the node certificate: " + string(der)) },
		EraseToken:             func() error { return nil },
		ReadNodeState: func(context.Context) (*agentv1.NodeState, error) {
			return &agentv1.NodeState{Runner: "direct"}, nil
		},
		ReadLimit: 200 * time.Millisecond,
	}
	if change != nil {
		change(&options)
	}
	b.door = New(zaptest.NewLogger(t), options)
	listener, err := net.Listen("unix", b.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.door.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return b
}

// raw sends bytes and returns the refusal.
func (b *bench) raw(input []byte) *agentv1.DoorRefusal {
	b.t.Helper()
	conn, err := net.Dial("unix", b.path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(input); err != nil {
		b.t.Fatal(err)
	}
	payload, err := operation.ReadFrame(conn)
	if err != nil {
		b.t.Fatalf("no answer: %v", err)
	}
	reply := &agentv1.DoorReply{}
	if err := proto.Unmarshal(payload, reply); err != nil {
		b.t.Fatal(err)
	}
	return reply.GetRefusal()
}

func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func TestRefusals(t *testing.T) {
	b := open(t, nil)
	signed, err := proto.Marshal(&agentv1.DoorRequest{Request: &agentv1.DoorRequest_Submit{Submit: &agentv1.SignedOperation{Operation: []byte("x")}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		input    []byte
		reason   agentv1.DoorRefusalReason
		fragment string
	}{
		{"oversize", binary.BigEndian.AppendUint32(nil, 1<<30), malformed, "more than 524288"},
		{"slow", frame([]byte("half a frame"))[:8], malformed, "not complete within"},
		{"no bytes", nil, malformed, "not complete within"},
		{"malformed", frame([]byte("\xff\xff\xff\xff")), malformed, "cannot be parsed"},
		{"empty request", frame(nil), unknownKind, "does not know this kind"},
		{"unknown request", frame([]byte{0xfa, 0x01, 0x00}), unknownKind, "does not know this kind"},
		{"unsigned operation", frame(signed), agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNSIGNED, "was made for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refusal := b.raw(c.input)
			if refusal.GetReason() != c.reason || !strings.Contains(refusal.GetMessage(), c.fragment) {
				t.Errorf("refusal = %v, want %v with %q", refusal, c.reason, c.fragment)
			}
		})
	}
	if len(b.engine.submitted) > 0 {
		t.Errorf("submitted: %v", b.engine.submitted)
	}
}

func TestForbiddenPeer(t *testing.T) {
	b := open(t, func(o *Options) { o.Allowed = func(uint32) bool { return false } })
	err := b.client.EraseToken(t.Context())
	if !isRefusal(err, forbidden) {
		t.Errorf("EraseToken = %v", err)
	}
}

func TestSmallRequests(t *testing.T) {
	b := open(t, nil)
	if csr, err := b.client.NodeKeyCSR(t.Context()); err != nil || string(csr) != "csr" {
		t.Errorf("NodeKeyCSR = %q, %v", csr, err)
	}
	if err := b.client.EraseToken(t.Context()); err != nil {
		t.Errorf("EraseToken = %v", err)
	}
	if state, err := b.client.ReadNodeState(t.Context()); err != nil || state.GetRunner() != "direct" {
		t.Errorf("ReadNodeState = %v, %v", state, err)
	}
	err := b.client.InstallNodeCertificate(t.Context(), []byte("bad"))
	if !isRefusal(err, failed) || !strings.Contains(err.Error(), "cannot use the node certificate: bad") {
		t.Errorf("InstallNodeCertificate = %v", err)
	}
}

func TestSubmitAndFollow(t *testing.T) {
	b := open(t, nil)
	seen := make(chan *agentv1.OperationProgress, 10)
	result := make(chan error, 1)
	go func() {
		_, err := b.client.Submit(t.Context(), b.ca.Sign(t, optest.Operation(1)), func(p *agentv1.OperationProgress) { seen <- p })
		result <- err
	}()
	if first := <-seen; first.GetState() != agentv1.OperationState_OPERATION_STATE_RUNNING {
		t.Errorf("first progress = %v", first)
	}
	close(b.engine.hold)
	if err := <-result; err != nil {
		t.Errorf("Submit = %v", err)
	}
	end, err := b.client.Follow(t.Context(), "", nil)
	if err != nil || end.GetState() != agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		t.Errorf("Follow = %v, %v", end, err)
	}
}

func TestSubmitRefused(t *testing.T) {
	b := open(t, nil)
	b.engine.refusal = operation.Refuse(busy, "another operation runs")
	_, err := b.client.Submit(t.Context(), b.ca.Sign(t, optest.Operation(1)), nil)
	if !isRefusal(err, busy) {
		t.Errorf("Submit = %v", err)
	}
	env := b.ca.Sign(t, optest.Operation(1))
	env.Signature[3] ^= 1
	if _, err := b.client.Submit(t.Context(), env, nil); !isRefusal(err, agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNSIGNED) {
		t.Errorf("a forged operation: %v", err)
	}
}

func TestFollowerLeaves(t *testing.T) {
	b := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := b.client.Submit(ctx, b.ca.Sign(t, optest.Operation(1)), func(*agentv1.OperationProgress) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Submit = %v", err)
	}
	// The door notices: it becomes idle although the operation runs.
	deadline := time.Now().Add(10 * time.Second)
	for !b.door.CloseIfIdle(0) {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still open")
		}
	}
}

// TestTooManyConnections checks that connections beyond the bound are told so,
// and that the door serves again when some have left.
func TestTooManyConnections(t *testing.T) {
	b := open(t, func(o *Options) { o.ReadLimit = time.Minute })
	var held []net.Conn
	for range maxRootConnections {
		conn, err := net.Dial("unix", b.path)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	deadline := time.Now().Add(10 * time.Second)
	for len(b.door.root.slots) < maxRootConnections {
		if time.Now().After(deadline) {
			t.Fatal("the connections were not accepted")
		}
	}
	if err := b.client.EraseToken(t.Context()); !isRefusal(err, busy) {
		t.Errorf("one connection too many: %v", err)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	for {
		if err := b.client.EraseToken(t.Context()); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the door does not serve again")
		}
	}
}

// TestBurst checks that a peer that asks without end is slowed, not served.
func TestBurst(t *testing.T) {
	b := open(t, nil)
	refused := 0
	for range requestBurst + 20 {
		if err := b.client.EraseToken(t.Context()); isRefusal(err, busy) {
			refused++
		}
	}
	if refused == 0 {
		t.Error("every request of a burst was served")
	}
}

func TestClosedWhenIdle(t *testing.T) {
	b := open(t, nil)
	deadline := time.Now().Add(10 * time.Second)
	for !b.door.CloseIfIdle(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the door does not become idle")
		}
	}
	conn, err := net.Dial("unix", b.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := operation.ReadFrame(conn); !errors.Is(err, io.EOF) {
		t.Errorf("a closed door answers: %v", err)
	}
}

func isRefusal(err error, reason agentv1.DoorRefusalReason) bool {
	var refusal *operation.Refusal
	return errors.As(err, &refusal) && refusal.Reason == reason
}

// chmodAll opens a socket and its folder for everybody.
func chmodAll(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.Chmod(path, 0o777)); err != nil {
		t.Fatal(err)
	}
}
