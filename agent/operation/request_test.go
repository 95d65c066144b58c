package operation_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func encoded(t testing.TB, request *agentv1.DoorRequest) []byte {
	t.Helper()
	payload, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func follow(id string) *agentv1.DoorRequest {
	return &agentv1.DoorRequest{Request: &agentv1.DoorRequest_Follow{Follow: &agentv1.FollowRequest{OperationId: id}}}
}

func labels(set map[string]string) *agentv1.DoorRequest {
	return &agentv1.DoorRequest{Request: &agentv1.DoorRequest_SetNodeLabels{SetNodeLabels: &agentv1.SetNodeLabelsRequest{Labels: set}}}
}

func TestParseRequest(t *testing.T) {
	t.Parallel()
	one := encoded(t, follow("a"))
	many := map[string]string{}
	for n := range 4000 {
		many[fmt.Sprint("label-", n)] = strings.Repeat("v", 20)
	}
	// Two bytes on the wire, some hundred in memory.
	empty := bytes.Repeat([]byte{0x5a, 0}, 200<<10)
	node := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), empty)
	forecast := protowire.AppendBytes(protowire.AppendTag(nil, 8, protowire.BytesType), node)
	for _, c := range []struct {
		name    string
		payload []byte
		reason  agentv1.DoorRefusalReason // 0: accepted
		says    string
	}{
		{"one request", one, 0, ""},
		{"none", nil, unknownKind, "different versions"},
		{"of a later version", protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), one), unknownKind, "install both from one package"},
		{"two requests", append(append([]byte{}, one...), one...), malformed, "more than one request"},
		{"a request and junk", append(append([]byte{}, one...), 0xff), malformed, "more than one request"},
		{"junk", []byte{0xff, 0xff, 0xff, 0xff}, malformed, "cannot be parsed"},
		{"cut short", one[:len(one)-1], malformed, "cannot be parsed"},
		{"invalid UTF-8", append(one[:len(one)-1:len(one)-1], 0xff), malformed, "cannot be parsed"},
		{"a long ID", encoded(t, follow(strings.Repeat("a", 2000))), malformed, "more than 1024"},
		{"many labels", encoded(t, labels(many)), malformed, "more than 65536"},
		{"a forecast of many empty parts", forecast, malformed, "more than 262144"},
	} {
		request, err := operation.ParseRequest(c.payload)
		var refusal *operation.Refusal
		switch {
		case c.reason == 0:
			if err != nil || request.GetFollow().GetOperationId() != "a" {
				t.Errorf("%s: %v, %v", c.name, request, err)
			}
		case !errors.As(err, &refusal) || refusal.Reason != c.reason || !strings.Contains(refusal.Message, c.says):
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.reason, c.says)
		}
	}
}

// FuzzParseRequest checks that any bytes are refused or are one request, which is
// encoded to what decodes to the same again; and that its parts can be checked.
func FuzzParseRequest(f *testing.F) {
	ca := optest.NewAuthority(f)
	for _, request := range []*agentv1.DoorRequest{
		follow("a"), labels(map[string]string{"a.example/b": "c"}),
		{Request: &agentv1.DoorRequest_Submit{Submit: ca.Sign(f, optest.Operation(1))}},
		{Request: &agentv1.DoorRequest_Forecast{Forecast: &agentv1.ForecastRequest{Kind: repave, Node: optest.NodeSpec()}}},
		{Request: &agentv1.DoorRequest_SubmitLocal{SubmitLocal: &agentv1.SubmitLocalRequest{Kind: leave}}},
	} {
		f.Add(encoded(f, request))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		request, err := operation.ParseRequest(input)
		var refusal *operation.Refusal
		if err != nil {
			if !errors.As(err, &refusal) || request != nil {
				t.Fatalf("ParseRequest(%x) = %v, %v", input, request, err)
			}
			return
		}
		if request.GetRequest() == nil {
			t.Fatalf("ParseRequest(%x) holds no request", input)
		}
		again, err := operation.ParseRequest(encoded(t, request))
		if err != nil || !proto.Equal(again, request) {
			t.Fatalf("round trip: %v, %v", again, err)
		}
		_ = operation.CheckForecast(request.GetForecast())
		_ = operation.CheckLabels(request.GetSetNodeLabels().GetLabels())
		_ = operation.CheckLocal(request.GetSubmitLocal())
	})
}

// FuzzVerify checks that no bytes that the CA's key did not sign become an
// operation, and that what is signed never makes the checks fall over.
func FuzzVerify(f *testing.F) {
	ca := optest.NewAuthority(f)
	for _, kind := range kindsOfRoot {
		f.Add(encodedOperation(f, optest.Of(2, kind)), []byte("signature"))
	}
	f.Fuzz(func(t *testing.T, payload, signature []byte) {
		env := ca.Sign(t, optest.Operation(1))
		env.Operation, env.Signature = payload, signature
		if op, err := operation.Verify(env, ca.Trust(), time.Now()); err == nil {
			t.Fatalf("accepted without a signature: %v", op)
		}
		ca.Resign(env)
		op, err := operation.Verify(env, ca.Trust(), time.Now())
		if err == nil && (!operation.ValidID(op.GetId()) || op.GetHostId() != optest.HostID || operation.Deadline(op) > operation.MaxDeadline) {
			t.Fatalf("accepted %v", op)
		}
	})
}

func TestCheckLabels(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for n := range 65 {
		many[fmt.Sprint("label-", n)] = ""
	}
	for _, c := range []struct {
		labels map[string]string
		says   string
	}{
		{map[string]string{"site": "store-17", "example.com/a_b.c": "", "a": strings.Repeat("v", 63)}, ""},
		{map[string]string{"site": strings.Repeat("v", 64)}, "no value for label site"},
		{map[string]string{"a b": "c"}, "no label key"},
		{map[string]string{"": "c"}, "no label key"},
		{map[string]string{"a": "x\ny"}, "no value"},
		{map[string]string{strings.Repeat("k", 318): ""}, "no label key"},
		{many, "65 labels"},
	} {
		err := operation.CheckLabels(c.labels)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%.100v: %v, want %q", c.labels, err, c.says)
		}
	}
}

func TestCheckForecast(t *testing.T) {
	t.Parallel()
	request := func(kind agentv1.OperationKind) *agentv1.ForecastRequest {
		op := optest.Of(2, kind)
		return &agentv1.ForecastRequest{Kind: kind, Node: op.GetNode(), NodeDigest: op.GetNodeDigest(), NodeIp: op.GetNodeIp()}
	}
	for _, kind := range []agentv1.OperationKind{provision, repave, reconfigure, leave} {
		if err := operation.CheckForecast(request(kind)); err != nil {
			t.Errorf("%s: %v", operation.KindName(kind), err)
		}
	}
	for _, kind := range []agentv1.OperationKind{abort, liveSwitch, 0, 99} {
		if err := operation.CheckForecast(request(kind)); err == nil {
			t.Errorf("a forecast of kind %s is made", kind)
		}
	}
	local := request(repave)
	local.Node.Nodeadm = &agentv1.NodeadmSource{Url: "file:///etc/shadow", Sha256: strings.Repeat("00", 32)}
	if err := operation.CheckForecast(local); err == nil {
		t.Error("a forecast reads a file of the host")
	}
}

func encodedOperation(t testing.TB, op *agentv1.Operation) []byte {
	t.Helper()
	payload, err := proto.Marshal(op)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}
