package manifest

import (
	"github.com/goccy/go-yaml/ast"
)

// maxDepth bounds nesting, aliases included.
const maxDepth = 32

// pair is one entry of a mapping.
type pair struct {
	key     string
	keyNode ast.Node
	value   ast.Node
}

// resolve follows anchors and aliases to the node that is meant; nil: an error
// was noted.
func (d *decoder) resolve(n ast.Node) ast.Node {
	for range maxDepth {
		switch v := n.(type) {
		case *ast.AnchorNode:
			d.anchors[v.Name.GetToken().Value] = v.Value
			n = v.Value
		case *ast.AliasNode:
			target, ok := d.anchors[v.Value.GetToken().Value]
			if !ok {
				d.fail(n, "alias *%s has no anchor before it", v.Value.GetToken().Value)
				return nil
			}
			n = target
		case *ast.TagNode:
			d.fail(n, "tag %s is not supported; write the value without it", v.Start.Value)
			return nil
		default:
			return n
		}
	}
	d.fail(n, "aliases nest too deep")
	return nil
}

// mapping reads the entries of a mapping; what is what the place holds, for the
// error.
func (d *decoder) mapping(n ast.Node, what string) ([]pair, bool) {
	if n = d.resolve(n); n == nil {
		return nil, false
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		d.fail(n, "%s must be a mapping of fields, not %s", what, describe(n))
		return nil, false
	}
	var out []pair
	for it := m.MapRange(); it.Next(); {
		key := ast.Node(it.Key())
		if k, ok := key.(*ast.MappingKeyNode); ok {
			key = k.Value
		}
		if key.Type() == ast.MergeKeyType {
			d.fail(key, "merge keys are not supported; write the fields out")
			continue
		}
		text, ok := textOf(key)
		if !ok {
			d.fail(key, "a key must be plain text, not %s; put it in quotes", describe(key))
			continue
		}
		out = append(out, pair{key: text, keyNode: key, value: it.Value()})
	}
	return out, true
}

// textOf answers the text of a string, quoted or not.
func textOf(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
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
