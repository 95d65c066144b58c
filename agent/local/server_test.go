package local

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type source struct{}

func (source) Status() *localv1.Status { return &localv1.Status{HostId: "edge-1"} }
func (source) NICs() []*agentv1.NIC    { return []*agentv1.NIC{{Name: "lan0"}} }

// WatchOperation knows operations of which the first letter says what they do.
func (source) WatchOperation(ctx context.Context, id string, send func(*agentv1.OperationProgress) error) error {
	switch {
	case id == "":
		return send(&agentv1.OperationProgress{OperationId: "last"})
	case id[0] == 'r': // runs
		if err := send(&agentv1.OperationProgress{OperationId: id}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	return operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION, "operation %s is not known", id)
}

func (source) PlanOperation(_ context.Context, kind agentv1.OperationKind) (*agentv1.Forecast, error) {
	switch kind {
	case agentv1.OperationKind_OPERATION_KIND_LEAVE:
		return &agentv1.Forecast{Path: "uninstall"}, nil
	case agentv1.OperationKind_OPERATION_KIND_REPAVE:
		return nil, operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_BUSY, "another forecast is being made")
	case agentv1.OperationKind_OPERATION_KIND_PROVISION:
		return nil, errors.New("cannot reach hybrid-agent-op")
	}
	return nil, operation.Refuse(agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION, "the host is in no pool")
}

// serve runs a server and returns its socket.
func serve(t *testing.T) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(zaptest.NewLogger(t), listener, source{}, actor{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	<-s.Ready()
	return s, path
}

func client(t *testing.T, path string) localv1.LocalServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return localv1.NewLocalServiceClient(conn)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	_, path := serve(t)
	c := client(t, path)
	answer, err := c.GetStatus(t.Context(), &localv1.GetStatusRequest{})
	if err != nil || answer.GetStatus().GetHostId() != "edge-1" {
		t.Fatalf("%v, %v", answer, err)
	}
	nics, err := c.ListNICs(t.Context(), &localv1.ListNICsRequest{})
	if err != nil || len(nics.GetNics()) != 1 {
		t.Fatalf("%v, %v", nics, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v; want 0660", info.Mode(), err)
	}
}

type actor struct{}

func (actor) ConfirmNetwork() error  { return nil }
func (actor) RollbackNetwork() error { return errors.New("no trial runs") }
func (actor) RetryNetwork() error    { return nil }

func TestActs(t *testing.T) {
	t.Parallel()
	_, path := serve(t)
	c := client(t, path)
	if answer, err := c.ConfirmNetwork(t.Context(), &localv1.ConfirmNetworkRequest{}); err != nil || answer == nil {
		t.Errorf("confirm: %v, %v", answer, err)
	}
	if answer, err := c.RetryNetwork(t.Context(), &localv1.RetryNetworkRequest{}); err != nil || answer == nil {
		t.Errorf("retry: %v, %v", answer, err)
	}
	_, err := c.RollbackNetwork(t.Context(), &localv1.RollbackNetworkRequest{})
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "no trial runs" {
		t.Errorf("rollback: %v", err)
	}
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	s := &Server{log: zaptest.NewLogger(t), group: 4711, hasGroup: true}
	read, act := localv1.LocalService_GetStatus_FullMethodName, localv1.LocalService_RollbackNetwork_FullMethodName
	for name, tc := range map[string]struct {
		who    peer
		method string
		want   bool
	}{
		"root reads":              {peer{uid: 0}, read, true},
		"the daemon's own user":   {peer{uid: uint32(os.Geteuid())}, read, true},
		"a member of the group":   {peer{uid: 1000, groups: []uint32{100, 4711}}, read, true},
		"anybody else":            {peer{uid: 1000, groups: []uint32{100}}, read, false},
		"root acts":               {peer{uid: 0}, act, true},
		"a member does not act":   {peer{uid: 1000, groups: []uint32{4711}}, act, false},
		"a method without a rule": {peer{uid: 0}, "/hybrid.local.v1.LocalService/Unknown", false},
	} {
		if got := s.allowed(tc.who, accessOf(tc.method)); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	if s.hasGroup = false; s.allowed(peer{uid: 1000, groups: []uint32{4711}}, groupRead) {
		t.Error("a member of no known group may read")
	}
}

func TestEveryMethodDeclaresItsAccess(t *testing.T) {
	t.Parallel()
	for _, method := range localv1.LocalService_ServiceDesc.Methods {
		if accessOf("/"+localv1.LocalService_ServiceDesc.ServiceName+"/"+method.MethodName) == nobody {
			t.Errorf("%s is closed to everybody", method.MethodName)
		}
	}
	for _, stream := range localv1.LocalService_ServiceDesc.Streams {
		if accessOf("/"+localv1.LocalService_ServiceDesc.ServiceName+"/"+stream.StreamName) == nobody {
			t.Errorf("%s is closed to everybody", stream.StreamName)
		}
	}
}

func TestPeerIsIdentified(t *testing.T) {
	t.Parallel()
	listener, err := Listen(t.Context(), filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	limitedOne := limit(listener, 1)
	out, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	in, err := limitedOne.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	who, err := identify(in)
	if err != nil || who.uid != uint32(os.Getuid()) || who.pid != int32(os.Getpid()) || !who.inGroup(uint32(os.Getgid())) {
		t.Errorf("identified %+v, %v", who, err)
	}
	if _, err := identify(&net.TCPConn{}); err == nil {
		t.Error("a TCP connection has no peer credentials")
	}
}

// TestSilentClientsHarmNobody: more clients than there are places, none of which
// says a word; those inside are thrown out, and a real one is served.
func TestSilentClientsHarmNobody(t *testing.T) {
	t.Parallel()
	_, path := serve(t)
	for range maxClients * 2 {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := client(t, path).GetStatus(ctx, &localv1.GetStatusRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("not served behind silent clients: %v", err)
	}
}

func TestHugeRequestIsRefused(t *testing.T) {
	t.Parallel()
	_, path := serve(t)
	request := &localv1.GetStatusRequest{}
	request.ProtoReflect().SetUnknown(append([]byte{0xfa, 0x7f, 0x80, 0x80, 0x40}, make([]byte, 1<<20)...)) // field 2047, 1 MiB
	_, err := client(t, path).GetStatus(t.Context(), request)
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
}

func TestStaleSocketIsReplacedALiveOneNot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.sock")
	first, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("got %v", err)
	}
	first.SetUnlinkOnClose(false)
	_ = first.Close()
	second, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
}
