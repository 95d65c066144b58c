package main

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// submitFrame is the frame of a submission.
func submitFrame(t *testing.T, env *agentv1.SignedOperation) []byte {
	t.Helper()
	payload, err := proto.Marshal(&agentv1.DoorRequest{Request: &agentv1.DoorRequest_Submit{Submit: env}})
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// exchange sends bytes to the real door and returns the last of its answers.
func (s *site) exchange(data []byte) *agentv1.DoorReply {
	s.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(s.dir, "run/op.sock"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(data); err != nil {
		s.t.Fatal(err)
	}
	reply := &agentv1.DoorReply{}
	for {
		payload, err := operation.ReadFrame(conn)
		if err != nil {
			s.t.Fatalf("no answer: %v", err)
		}
		if err := proto.Unmarshal(payload, reply); err != nil {
			s.t.Fatal(err)
		}
		if reply.GetProgress() == nil || operation.Ended(reply.GetProgress().GetState()) {
			return reply
		}
	}
}

// TestReplays sends recorded and changed frames to a whole hybrid-agent-op: the
// current one is answered with what became of it, every other is refused, and root's
// state stays as it is.
func TestReplays(t *testing.T) {
	s := newSite(t)
	s.start()
	s.installCertificate()
	signed := func(n uint64, change func(*agentv1.Operation)) []byte {
		op := optest.Operation(n)
		if change != nil {
			change(op)
		}
		return submitFrame(t, s.ca.Sign(t, op))
	}
	former, current := signed(5, nil), signed(7, nil)
	for _, frame := range [][]byte{former, current} {
		if state := s.exchange(frame).GetProgress().GetState(); state != agentv1.OperationState_OPERATION_STATE_SUCCEEDED && state != agentv1.OperationState_OPERATION_STATE_FAILED {
			t.Fatalf("the plane's own operation is %v", state)
		}
	}
	before := s.rootState()
	for _, c := range []struct {
		name  string
		frame []byte
		want  agentv1.DoorRefusalReason // 0: its progress
	}{
		{"current, again", current, 0},
		{"replayed", former, agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE},
		{"of an older epoch", signed(9, func(op *agentv1.Operation) { op.Sequence.Epoch = 0 }), agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE},
		{"another in the same place", signed(8, func(op *agentv1.Operation) { op.Sequence.Counter = 7 }), agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE},
		{"the same ID, changed", signed(7, func(op *agentv1.Operation) { op.NodeIp = "127.0.0.2" }), agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED},
		{"foreign", signed(9, func(op *agentv1.Operation) { op.HostId = "edge-9" }), agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FOREIGN},
		{"forged", submitFrame(t, optest.NewAuthority(t).Sign(t, optest.Operation(9))), agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_UNSIGNED},
		{"abort of what has ended", submitFrame(t, s.ca.Sign(t, optest.Of(8, agentv1.OperationKind_OPERATION_KIND_ABORT))), agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_PRECONDITION},
		{"replayed abort", submitFrame(t, s.ca.Sign(t, optest.Of(3, agentv1.OperationKind_OPERATION_KIND_ABORT))), agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_STALE},
		{"two in one frame", twice(current), agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED},
		{"oversize", []byte{0, 8, 0, 1}, agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_MALFORMED},
	} {
		reply := s.exchange(c.frame)
		if reply.GetRefusal().GetReason() != c.want || c.want == 0 && reply.GetProgress().GetOperationId() != optest.Operation(7).GetId() {
			t.Errorf("%s: %v, want %v", c.name, reply, c.want)
		}
	}
	if after := s.rootState(); after != before {
		t.Errorf("root's state was\n%q\nand is\n%q", before, after)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// twice is one frame with two requests.
func twice(frame []byte) []byte {
	payload := append(append([]byte{}, frame[4:]...), frame[4:]...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// rootState is what root keeps of operations, but for the times that steps took, which
// follow the end of one.
func (s *site) rootState() string {
	s.t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"state/operations/sequence", "state/operations/*.journal", "state/applied"} {
		files, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				s.t.Fatal(err)
			}
			all.WriteString(file + " " + string(data) + "\n")
		}
	}
	return all.String()
}
