package operation

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Sizes of requests without their frame. What is small is held to it before it is
// decoded: a message of many empty parts takes many times its size in memory.
const (
	maxSmallRequest       = 1 << 10
	maxCertificateRequest = 16 << 10
	maxLabelsRequest      = 64 << 10
	maxForecastRequest    = 256 << 10
)

// ParseRequest decodes what stands in a frame of the door: exactly one request, of
// a kind that this build knows, no larger than that kind may be. Every error is a
// *Refusal.
func ParseRequest(payload []byte) (*agentv1.DoorRequest, error) {
	number, err := requestNumber(payload)
	if err != nil {
		return nil, err
	}
	limit, known := requestLimit(number)
	if !known {
		return nil, UnknownRequest()
	}
	if len(payload) > limit {
		return nil, Refuse(malformed, "the request has %d bytes, more than %d", len(payload), limit)
	}
	request := &agentv1.DoorRequest{}
	if err := proto.Unmarshal(payload, request); err != nil {
		return nil, Refuse(malformed, "the request cannot be parsed: %v", err)
	}
	if request.GetRequest() == nil {
		return nil, Refuse(malformed, "the request cannot be parsed: field %d is no message", number)
	}
	return request, nil
}

// UnknownRequest is the answer to a request that this build does not serve.
func UnknownRequest() *Refusal {
	return Refuse(unknownKind, "hybrid-agent-op does not know this kind of request: hybrid-agent and hybrid-agent-op are of different versions; install both from one package")
}

// requestNumber returns the number of the one field that a request consists of.
// Several would be merged or dropped by the decoder, and read otherwise by
// another one.
func requestNumber(payload []byte) (protowire.Number, error) {
	if len(payload) == 0 {
		return 0, UnknownRequest()
	}
	number, _, size := protowire.ConsumeField(payload)
	if size < 0 {
		return 0, Refuse(malformed, "the request cannot be parsed: %v", protowire.ParseError(size))
	}
	if size != len(payload) {
		return 0, Refuse(malformed, "the frame holds more than one request")
	}
	return number, nil
}

// requestLimit is how large a request of a kind, given by its field's number in
// DoorRequest, may be.
func requestLimit(number protowire.Number) (limit int, known bool) {
	field := (&agentv1.DoorRequest{}).ProtoReflect().Descriptor().Fields().ByNumber(number)
	if field == nil {
		return 0, false
	}
	switch field.Name() {
	case "submit":
		return agentv1.MaxDoorFrameBytes, true
	case "forecast":
		return maxForecastRequest, true
	case "set_node_labels":
		return maxLabelsRequest, true
	case "install_node_certificate":
		return maxCertificateRequest, true
	default:
		return maxSmallRequest, true
	}
}
