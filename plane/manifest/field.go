package manifest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// message reads a mapping into a message along its descriptor.
func (d *decoder) message(m protoreflect.Message, n ast.Node, path, label string) {
	if d.depth++; d.depth > maxDepth {
		d.fail(n, "fields nest deeper than %d", maxDepth)
	}
	defer func() { d.depth-- }()
	fields, ok := d.mapping(n, label)
	if !ok || d.depth > maxDepth {
		return
	}
	md := m.Descriptor()
	for _, p := range fields {
		at := path + "." + p.key
		d.places[at] = d.positionOf(p.keyNode)
		f := md.Fields().ByJSONName(p.key)
		if f == nil {
			d.fail(p.keyNode, "unknown field %q in %s%s", p.key, label, meant(p.key, jsonNames(md)))
			continue
		}
		if o := f.ContainingOneof(); o != nil && m.WhichOneof(o) != nil {
			d.fail(p.keyNode, "%s and %s exclude each other in %s; keep one", m.WhichOneof(o).JSONName(), p.key, label)
			continue
		}
		d.field(m, f, p, at)
	}
}

func jsonNames(md protoreflect.MessageDescriptor) []string {
	out := make([]string, 0, md.Fields().Len())
	for i := range md.Fields().Len() {
		out = append(out, md.Fields().Get(i).JSONName())
	}
	return out
}

// field reads one field; nothing given means not set.
func (d *decoder) field(m protoreflect.Message, f protoreflect.FieldDescriptor, p pair, path string) {
	n := d.resolve(p.value)
	if isNull(n) {
		return
	}
	switch {
	case f.IsMap():
		d.mapField(m.Mutable(f).Map(), f, n, path)
	case f.IsList():
		d.list(m.Mutable(f).List(), f, n, path)
	default:
		if v, ok := d.value(m.NewField(f), f, n, path); ok {
			m.Set(f, v)
		}
	}
}

func (d *decoder) mapField(m protoreflect.Map, f protoreflect.FieldDescriptor, n ast.Node, path string) {
	entries, ok := d.mapping(n, path)
	if !ok {
		return
	}
	for _, p := range entries {
		at := path + "." + p.key
		d.places[at] = d.positionOf(p.keyNode)
		if v, ok := d.value(m.NewValue(), f.MapValue(), d.resolve(p.value), at); ok {
			m.Set(protoreflect.ValueOfString(p.key).MapKey(), v)
		}
	}
}

func (d *decoder) list(l protoreflect.List, f protoreflect.FieldDescriptor, n ast.Node, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, "%s must be a list, not %s; write [%s] or one \"- \" line for each", path, describe(n), shorten(n))
		return
	}
	for i, item := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.places[at] = d.positionOf(item)
		if v, ok := d.value(l.NewElement(), f, d.resolve(item), at); ok {
			l.Append(v)
		}
	}
}

func shorten(n ast.Node) string {
	const most = 30
	if s, ok := textOf(n); ok && len(s) <= most && !strings.Contains(s, "\n") {
		return s
	}
	return "…"
}

// value reads a single value; empty is what a message is read into.
func (d *decoder) value(empty protoreflect.Value, f protoreflect.FieldDescriptor, n ast.Node, path string) (protoreflect.Value, bool) {
	none := protoreflect.Value{}
	if n == nil {
		return none, false
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		s, ok := textOf(n)
		if !ok {
			d.fail(n, "%s must be text, not %s%s", path, describe(n), quoteHint(n))
		}
		return protoreflect.ValueOfString(s), ok
	case protoreflect.BoolKind:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.fail(n, "%s must be true or false, not %s", path, describe(n))
			return none, false
		}
		return protoreflect.ValueOfBool(b.Value), true
	case protoreflect.EnumKind:
		return d.enum(f.Enum(), n, path)
	case protoreflect.MessageKind:
		return d.nested(empty, n, path)
	default:
		return d.number(f, n, path)
	}
}

// quoteHint helps where YAML took text for something else.
func quoteHint(n ast.Node) string {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return "; put it in quotes"
	default:
		return ""
	}
}

// nested reads a message; those of Google's that have a form of their own in
// JSON have it here too.
func (d *decoder) nested(empty protoreflect.Value, n ast.Node, path string) (protoreflect.Value, bool) {
	switch m := empty.Message().Interface().(type) {
	case *structpb.Struct:
		v, ok := d.plain(n, path)
		if !ok {
			return empty, false
		}
		fields, isMap := v.(map[string]any)
		if !isMap {
			d.fail(n, "%s must be a mapping, not %s", path, describe(n))
			return empty, false
		}
		s, err := structpb.NewStruct(fields)
		if err != nil {
			d.fail(n, "%s: %v", path, err)
			return empty, false
		}
		proto.Merge(m, s)
	case *timestamppb.Timestamp:
		text, _ := textOf(n)
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			d.fail(n, "%s must be a time such as 2030-01-31T12:00:00Z, not %s", path, describe(n))
			return empty, false
		}
		proto.Merge(m, timestamppb.New(t))
	default:
		d.message(empty.Message(), n, path, path)
	}
	return empty, true
}

// enum takes the word without its prefix in any case: agent for OS_MODE_AGENT.
func (d *decoder) enum(e protoreflect.EnumDescriptor, n ast.Node, path string) (protoreflect.Value, bool) {
	text, _ := textOf(n)
	prefix := strings.TrimSuffix(string(e.Values().Get(0).Name()), "UNSPECIFIED")
	var words []string
	for i := 1; i < e.Values().Len(); i++ {
		v := e.Values().Get(i)
		word := strings.TrimPrefix(string(v.Name()), prefix)
		if strings.EqualFold(strings.ReplaceAll(text, "_", ""), strings.ReplaceAll(word, "_", "")) {
			return protoreflect.ValueOfEnum(v.Number()), true
		}
		words = append(words, strings.ToLower(word))
	}
	given := describe(n)
	if text != "" {
		given = strconv.Quote(text)
	}
	d.fail(n, "%s must be one of %s, not %s", path, strings.Join(words, ", "), given)
	return protoreflect.Value{}, false
}

// number reads the integers; text is taken too, as JSON of the protocol has
// 64-bit numbers.
func (d *decoder) number(f protoreflect.FieldDescriptor, n ast.Node, path string) (protoreflect.Value, bool) {
	text, _ := textOf(n)
	if i, ok := n.(*ast.IntegerNode); ok {
		text = i.GetToken().Value
	}
	var err error
	switch f.Kind() {
	case protoreflect.Uint32Kind:
		var v uint64
		if v, err = strconv.ParseUint(text, 10, 32); err == nil {
			return protoreflect.ValueOfUint32(uint32(v)), true
		}
	case protoreflect.Uint64Kind:
		var v uint64
		if v, err = strconv.ParseUint(text, 10, 64); err == nil {
			return protoreflect.ValueOfUint64(v), true
		}
	case protoreflect.Int32Kind:
		var v int64
		if v, err = strconv.ParseInt(text, 10, 32); err == nil {
			return protoreflect.ValueOfInt32(int32(v)), true
		}
	case protoreflect.Int64Kind:
		var v int64
		if v, err = strconv.ParseInt(text, 10, 64); err == nil {
			return protoreflect.ValueOfInt64(v), true
		}
	default:
		d.fail(n, "%s cannot be given in a file", path)
		return protoreflect.Value{}, false
	}
	d.fail(n, "%s must be a whole number, not %s", path, describe(n))
	return protoreflect.Value{}, false
}
