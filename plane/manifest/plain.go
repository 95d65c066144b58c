package manifest

import (
	"fmt"
	"math"

	"github.com/goccy/go-yaml/ast"
)

// plain reads a value without a descriptor, for fields that take any JSON.
func (d *decoder) plain(n ast.Node, path string) (any, bool) {
	if d.depth++; d.depth > maxDepth {
		d.fail(n, "fields nest deeper than %d", maxDepth)
		d.depth--
		return nil, false
	}
	defer func() { d.depth-- }()
	if n = d.resolve(n); n == nil {
		return nil, false
	}
	switch v := n.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.BoolNode:
		return v.Value, true
	case *ast.IntegerNode:
		return d.integer(v, path)
	case *ast.FloatNode:
		return v.Value, true
	case *ast.SequenceNode:
		out := make([]any, 0, len(v.Values))
		for i, item := range v.Values {
			value, ok := d.plain(item, fmt.Sprintf("%s[%d]", path, i))
			if !ok {
				return nil, false
			}
			out = append(out, value)
		}
		return out, true
	case ast.MapNode:
		return d.plainMap(n, path)
	default:
		s, ok := textOf(n)
		if !ok {
			d.fail(n, "%s cannot hold %s", path, describe(n))
		}
		return s, ok
	}
}

func (d *decoder) plainMap(n ast.Node, path string) (any, bool) {
	entries, ok := d.mapping(n, path)
	if !ok {
		return nil, false
	}
	out := make(map[string]any, len(entries))
	for _, p := range entries {
		at := path + "." + p.key
		d.places[at] = d.positionOf(p.keyNode)
		value, ok := d.plain(p.value, at)
		if !ok {
			return nil, false
		}
		out[p.key] = value
	}
	return out, true
}

// integer refuses what a JSON number would round.
func (d *decoder) integer(n *ast.IntegerNode, path string) (any, bool) {
	const exact = 1 << 53
	switch v := n.Value.(type) {
	case int64:
		if v <= exact && v >= -exact {
			return float64(v), true
		}
	case uint64:
		if v <= exact {
			return float64(v), true
		}
	case int:
		return float64(v), math.Abs(float64(v)) <= exact
	}
	d.fail(n, "%s: the number %s is too large to be kept exactly; put it in quotes", path, n.GetToken().Value)
	return nil, false
}
