package ospack

import (
	"errors"
	"strings"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// maxDepth bounds nesting, aliases included.
const maxDepth = 32

// reader collects what a manifest says.
type reader struct {
	anchors  map[string]ast.Node
	options  map[string]source
	sources  []source
	drain    *planev1.DrainSpec
	problems Problems
	depth    int
}

// source is a scalar of the manifest.
type source struct {
	path string
	line int
	// text as it is written, without quotes: 22.10 stays 22.10.
	text string
	// number is the value where it is a number.
	number any
	// list is set for what is no scalar and so cannot be put in anywhere.
	list bool
}

// pair is one entry of a mapping.
type pair struct {
	key   string
	line  int
	value ast.Node
}

// root parses the manifest's only document.
func (r *reader) root(manifest string) (ast.Node, bool) {
	if len(manifest) > maxManifest {
		r.add(0, "manifest", "has %d bytes, at most %d are allowed", len(manifest), maxManifest)
		return nil, false
	}
	file, err := parse(manifest)
	var syntax yaml.Error
	switch {
	case errors.As(err, &syntax) && syntax.GetToken() != nil && syntax.GetToken().Position != nil:
		r.add(syntax.GetToken().Position.Line, "manifest", "is no YAML: %s", syntax.GetMessage())
	case err != nil:
		r.add(0, "manifest", "is no YAML: %v", err)
	default:
		return r.single(file)
	}
	return nil, false
}

func (r *reader) single(file *ast.File) (ast.Node, bool) {
	var found ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || isNull(doc.Body) {
			continue
		}
		if found != nil {
			r.add(lineOf(doc.Body), "manifest", "has more than one YAML document; keep the OS pack's")
			return nil, false
		}
		found = doc.Body
	}
	if found == nil {
		r.add(0, "manifest", "is empty; mode appliance needs the manifest that the image build printed")
	}
	return found, found != nil
}

// parse reads YAML. The parser panics on some malformed input.
func parse(text string) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, errors.New("it cannot be read")
		}
	}()
	file, err = parser.ParseBytes([]byte(text), 0)
	if err == nil && file == nil {
		err = errors.New("it holds no document")
	}
	return file, err
}

// resolve follows anchors and aliases; nil: a problem was noted, or nothing is
// there.
func (r *reader) resolve(n ast.Node) ast.Node {
	for range maxDepth {
		switch v := n.(type) {
		case *ast.AnchorNode:
			r.anchors[v.Name.GetToken().Value] = v.Value
			n = v.Value
		case *ast.AliasNode:
			target, ok := r.anchors[v.Value.GetToken().Value]
			if !ok {
				r.add(lineOf(n), "manifest", "alias *%s has no anchor before it", v.Value.GetToken().Value)
				return nil
			}
			n = target
		case *ast.TagNode:
			r.add(lineOf(n), "manifest", "tag %s is not supported; write the value without it", v.Start.Value)
			return nil
		default:
			return n
		}
	}
	r.add(lineOf(n), "manifest", "aliases nest too deep")
	return nil
}

// mapping lists the entries of a mapping; nothing at all is an empty one.
func (r *reader) mapping(n ast.Node, path string) []pair {
	if n = r.resolve(n); isNull(n) {
		return nil
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		r.add(lineOf(n), path, "must be a mapping of fields, not %s", describe(n))
		return nil
	}
	var out []pair
	for it := m.MapRange(); it.Next(); {
		key := ast.Node(it.Key())
		if k, ok := key.(*ast.MappingKeyNode); ok {
			key = k.Value
		}
		text, ok := textOf(key)
		if !ok || key.Type() == ast.MergeKeyType {
			r.add(lineOf(key), path, "has a key that is no plain text; put it in quotes, and write merged fields out")
			continue
		}
		out = append(out, pair{key: text, line: lineOf(key), value: it.Value()})
	}
	return out
}

// scalar reads text, a number or a truth value.
func (r *reader) scalar(p pair, path string) (source, bool) {
	n := r.resolve(p.value)
	s := source{path: path, line: p.line}
	switch v := n.(type) {
	case nil:
		return s, false
	case *ast.IntegerNode:
		s.text, s.number = v.GetToken().Value, whole(v)
	case *ast.FloatNode:
		s.text, s.number = v.GetToken().Value, v.Value
	case *ast.BoolNode:
		s.text = v.GetToken().Value
	case *ast.NullNode:
	default:
		text, ok := textOf(n)
		if !ok {
			r.add(p.line, path, "must be text, not %s", describe(n))
			return s, false
		}
		s.text = text
	}
	return s, true
}

// whole is an integer as int64; nil where it does not fit.
func whole(n *ast.IntegerNode) any {
	switch v := n.Value.(type) {
	case int64:
		return v
	case uint64:
		if v <= 1<<63-1 {
			return int64(v)
		}
	case int:
		return int64(v)
	}
	return nil
}

func textOf(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return strings.TrimRight(v.Value.Value, "\n"), true
	default:
		return "", false
	}
}

// describe names what a node is, for people.
func describe(n ast.Node) string {
	switch v := n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + v.GetToken().Value
	case *ast.BoolNode:
		return "the truth value " + v.GetToken().Value
	case *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "a mapping"
	default:
		return "this"
	}
}

func isNull(n ast.Node) bool { return n == nil || n.Type() == ast.NullType }

// lineOf is a node's line, 0 where it has none. A mapping's own token is the
// colon of its first pair.
func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}
