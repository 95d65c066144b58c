package manifest

import (
	"errors"
	"fmt"
	"strings"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"google.golang.org/protobuf/reflect/protoreflect"

	"hybridagent/plane/kind"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// Position is a place in a file, both counted from 1.
type Position struct{ Line, Column int }

// Document is one resource of a file, and where its fields stand.
type Document struct {
	// Resource as read; not validated.
	Resource *planev1.Resource

	file   string
	places map[string]Position
}

// Where answers the place of a field such as spec.hosts[0].nic as
// file:line:column, or that of the nearest field around it.
func (d *Document) Where(path string) string {
	for {
		if p, ok := d.places[path]; ok {
			return fmt.Sprintf("%s:%d:%d", d.file, p.Line, p.Column)
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			p := d.places[""]
			return fmt.Sprintf("%s:%d:%d", d.file, p.Line, p.Column)
		}
		path = path[:cut]
	}
}

// Errors are everything that is wrong with a file, one line each.
type Errors []string

func (e Errors) Error() string { return strings.Join(e, "\n") }

// maxErrors ends the reading of a file that is something else altogether.
const maxErrors = 20

// Decode reads every document of a file; empty ones are left out. The error is
// an Errors.
func Decode(file string, data []byte) ([]*Document, error) {
	var docs []*Document
	var errs Errors
	for _, part := range split(string(data)) {
		d := &decoder{file: file, offset: part.line, places: map[string]Position{}, anchors: map[string]ast.Node{}}
		body, err := parse(part.text)
		if err != nil {
			errs = append(errs, d.syntaxError(err))
			continue
		}
		r := d.resource(body)
		errs = append(errs, d.errs...)
		docs = append(docs, &Document{Resource: r, file: file, places: d.places})
	}
	if len(errs) > maxErrors {
		errs = append(errs[:maxErrors], fmt.Sprintf("%s: and %d errors more", file, len(errs)-maxErrors))
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return docs, nil
}

// errNoDocument says that the parser found no document where there is text.
var errNoDocument = errors.New("this is no YAML document")

// parse reads one document. The parser panics on some malformed input.
func parse(text string) (body ast.Node, err error) {
	defer func() {
		if recover() != nil {
			body, err = nil, errNoDocument
		}
	}()
	f, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return nil, err
	}
	if f == nil || len(f.Docs) != 1 || f.Docs[0].Body == nil {
		return nil, errNoDocument
	}
	return f.Docs[0].Body, nil
}

// syntaxError puts the place of the parser's error in front.
func (d *decoder) syntaxError(err error) string {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil && y.GetToken().Position != nil {
		p := y.GetToken().Position
		return fmt.Sprintf("%s:%d:%d: %s", d.file, p.Line+d.offset, p.Column, y.GetMessage())
	}
	return fmt.Sprintf("%s:%d:1: %v", d.file, d.offset+1, err)
}

// decoder reads one document.
type decoder struct {
	file    string
	offset  int // lines of the file before the document
	places  map[string]Position
	anchors map[string]ast.Node
	errs    Errors
	depth   int
}

func (d *decoder) fail(n ast.Node, format string, args ...any) {
	p := d.positionOf(n)
	d.errs = append(d.errs, fmt.Sprintf("%s:%d:%d: ", d.file, p.Line, p.Column)+fmt.Sprintf(format, args...))
}

func (d *decoder) positionOf(n ast.Node) Position {
	// A mapping's own token is the colon of its first pair.
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return Position{Line: t.Position.Line + d.offset, Column: t.Position.Column}
	}
	return Position{Line: d.offset + 1, Column: 1}
}

// resource reads the envelope, whose spec depends on the kind.
func (d *decoder) resource(n ast.Node) *planev1.Resource {
	r := &planev1.Resource{}
	d.places[""] = d.positionOf(n)
	fields, ok := d.mapping(n, "a document")
	if !ok {
		return r
	}
	by := map[string]pair{}
	for _, p := range fields {
		d.places[p.key] = d.positionOf(p.keyNode)
		switch p.key {
		case "apiVersion", "kind", "metadata", "spec", "status":
			by[p.key] = p
		default:
			d.fail(p.keyNode, "unknown field %q in the document%s", p.key, meant(p.key, []string{"apiVersion", "kind", "metadata", "spec"}))
		}
	}
	m := r.ProtoReflect()
	for _, name := range []string{"apiVersion", "kind", "metadata"} {
		p, ok := by[name]
		if !ok || isNull(d.resolve(p.value)) {
			d.fail(n, "%s is missing", name)
			continue
		}
		d.field(m, m.Descriptor().Fields().ByJSONName(name), p, name)
	}
	field := specField(m.Descriptor(), r.GetKind())
	switch p, ok := by["spec"]; {
	case r.GetKind() == "":
	case field == nil:
		d.fail(by["kind"].value, "unknown kind %q%s", r.GetKind(), meant(r.GetKind(), kind.All()))
	case !ok || isNull(d.resolve(p.value)):
		d.fail(n, "spec is missing")
	default:
		d.message(m.Mutable(field).Message(), p.value, "spec", r.GetKind()+".spec")
	}
	return r
}

// specField is the field of the oneof spec for a kind: HybridCluster's is
// hybridCluster.
func specField(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if name == "" {
		return nil
	}
	spec := md.Oneofs().ByName("spec")
	for i := range spec.Fields().Len() {
		if f := spec.Fields().Get(i); strings.EqualFold(f.JSONName(), name) && name == strings.ToUpper(name[:1])+f.JSONName()[1:] {
			return f
		}
	}
	return nil
}
