package manifest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	yaml "github.com/goccy/go-yaml"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/plane/kind"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Encode turns a resource into the form of a file, ready for JSON or YAML. What
// is empty is left out, but for numbers and truth values of a status.
func Encode(r *planev1.Resource) map[string]any {
	out := map[string]any{"apiVersion": r.GetApiVersion(), "kind": r.GetKind()}
	if r.GetMetadata() != nil {
		out["metadata"] = encodeMessage(r.GetMetadata().ProtoReflect(), false)
	}
	m := r.ProtoReflect()
	for _, name := range []protoreflect.Name{"spec", "status"} {
		if f := m.WhichOneof(m.Descriptor().Oneofs().ByName(name)); f != nil {
			out[string(name)] = encodeMessage(m.Get(f).Message(), name == "status")
		}
	}
	return out
}

// EncodeList is the form of several resources.
func EncodeList(list []*planev1.Resource) map[string]any {
	items := make([]any, 0, len(list))
	for _, r := range list {
		items = append(items, Encode(r))
	}
	return map[string]any{"apiVersion": kind.APIVersion, "kind": "List", "items": items}
}

// Message is the form of a message that is no resource, as in a status.
func Message(m proto.Message) map[string]any { return encodeMessage(m.ProtoReflect(), true) }

// JSON and YAML write what Encode made, keys in order.
func JSON(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot encode JSON: %w", err)
	}
	return append(b, '\n'), nil
}

// YAML writes what Encode made, keys in order.
func YAML(v any) ([]byte, error) {
	b, err := yaml.MarshalWithOptions(v, yaml.UseLiteralStyleIfMultiline(true), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("cannot encode YAML: %w", err)
	}
	return b, nil
}

func encodeMessage(m protoreflect.Message, zeros bool) map[string]any {
	out := map[string]any{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) && (!zeros || !plainScalar(f)) {
			continue
		}
		out[f.JSONName()] = encodeField(m.Get(f), f, zeros)
	}
	return out
}

// plainScalar: fields whose zero says something.
func plainScalar(f protoreflect.FieldDescriptor) bool {
	if f.IsList() || f.IsMap() || f.ContainingOneof() != nil {
		return false
	}
	switch f.Kind() {
	case protoreflect.BoolKind, protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Int64Kind, protoreflect.Int32Kind:
		return true
	default:
		return false
	}
}

func encodeField(v protoreflect.Value, f protoreflect.FieldDescriptor, zeros bool) any {
	switch {
	case f.IsMap():
		out := map[string]any{}
		v.Map().Range(func(k protoreflect.MapKey, item protoreflect.Value) bool {
			out[k.String()] = encodeValue(item, f.MapValue(), zeros)
			return true
		})
		return out
	case f.IsList():
		out := make([]any, 0, v.List().Len())
		for i := range v.List().Len() {
			out = append(out, encodeValue(v.List().Get(i), f, zeros))
		}
		return out
	default:
		return encodeValue(v, f, zeros)
	}
}

func encodeValue(v protoreflect.Value, f protoreflect.FieldDescriptor, zeros bool) any {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return encodeKnown(v.Message(), zeros)
	case protoreflect.EnumKind:
		return EnumWord(f.Enum(), v.Enum())
	case protoreflect.BytesKind:
		return base64.StdEncoding.EncodeToString(v.Bytes())
	default:
		return v.Interface()
	}
}

func encodeKnown(m protoreflect.Message, zeros bool) any {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return v.AsTime().UTC().Format(time.RFC3339Nano)
	case *durationpb.Duration:
		return v.AsDuration().String()
	case *structpb.Struct:
		return whole(v.AsMap())
	default:
		return encodeMessage(m, zeros)
	}
}

// EnumWord is an enum's value as operators see it: agent, AMD64, Running.
func EnumWord(e protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := e.Values().ByNumber(n)
	if v == nil {
		return fmt.Sprint(n)
	}
	word := strings.TrimPrefix(string(v.Name()), strings.TrimSuffix(string(e.Values().Get(0).Name()), "UNSPECIFIED"))
	switch e.FullName() {
	case planev1.OSMode(0).Descriptor().FullName(), agentv1.EndpointAccess(0).Descriptor().FullName():
		return strings.ToLower(word)
	case agentv1.Architecture(0).Descriptor().FullName():
		return word
	}
	var out strings.Builder
	for _, part := range strings.Split(word, "_") {
		out.WriteString(part[:1] + strings.ToLower(part[1:]))
	}
	return out.String()
}

// whole turns the whole numbers of a Struct, which knows no others than
// floating-point ones, into what an operator wrote: 50, not 50.0.
func whole(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			v[k] = whole(item)
		}
	case []any:
		for i, item := range v {
			v[i] = whole(item)
		}
	case float64:
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return int64(v)
		}
	}
	return v
}
