package operation_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func TestFrameBounds(t *testing.T) {
	header := binary.BigEndian.AppendUint32(nil, agentv1.MaxDoorFrameBytes+1)
	_, err := operation.ReadFrame(bytes.NewReader(header))
	var refusal *operation.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("an oversize frame: %v", err)
	}
	if _, err := operation.ReadFrame(bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("no frame: %v, want io.EOF", err)
	}
	for _, short := range [][]byte{{0}, {0, 0, 0, 5, 'a'}} {
		if _, err := operation.ReadFrame(bytes.NewReader(short)); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a truncated frame %v: %v", short, err)
		}
	}
	large := &agentv1.DoorRequest{Request: &agentv1.DoorRequest_Submit{Submit: &agentv1.SignedOperation{Operation: make([]byte, agentv1.MaxDoorFrameBytes)}}}
	if err := operation.WriteFrame(io.Discard, large); err == nil {
		t.Error("an oversize message is written")
	}
}

// FuzzFrame checks that any bytes are either refused or a frame that is written
// back as it was read.
func FuzzFrame(f *testing.F) {
	var seed bytes.Buffer
	if err := operation.WriteFrame(&seed, &agentv1.DoorRequest{Request: &agentv1.DoorRequest_Follow{Follow: &agentv1.FollowRequest{OperationId: "a"}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, input []byte) {
		payload, err := operation.ReadFrame(bytes.NewReader(input))
		if err != nil {
			return
		}
		if !bytes.Equal(payload, input[4:4+len(payload)]) {
			t.Fatalf("payload %x of input %x", payload, input)
		}
		request := &agentv1.DoorRequest{}
		if proto.Unmarshal(payload, request) != nil {
			return
		}
		var out bytes.Buffer
		if err := operation.WriteFrame(&out, request); err != nil {
			t.Fatal(err)
		}
		again, err := operation.ReadFrame(&out)
		if err != nil {
			t.Fatal(err)
		}
		back := &agentv1.DoorRequest{}
		if err := proto.Unmarshal(again, back); err != nil || !proto.Equal(back, request) {
			t.Fatalf("round trip: %v, %v", back, err)
		}
	})
}
