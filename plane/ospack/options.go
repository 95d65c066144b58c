package ospack

import "github.com/goccy/go-yaml/ast"

// maxOptions bounds the options, which a file of aliases could multiply.
const maxOptions = 1000

// readOptions takes the options, flat with dots in their names as packs write
// them, or nested.
func (r *reader) readOptions(n ast.Node, path, prefix string) {
	if r.options == nil {
		r.options = map[string]source{}
	}
	if r.depth++; r.depth > maxDepth || len(r.options) > maxOptions {
		r.add(lineOf(n), path, "nest deeper than %d or are more than %d", maxDepth, maxOptions)
		r.depth--
		return
	}
	defer func() { r.depth-- }()
	for _, p := range r.mapping(n, path) {
		name, at := prefix+p.key, path+"."+p.key
		value := r.resolve(p.value)
		switch value.(type) {
		case ast.MapNode:
			r.readOptions(value, at, name+".")
			continue
		case *ast.SequenceNode:
			r.option(name, source{path: at, line: p.line, list: true})
			continue
		}
		if s, ok := r.scalar(p, at); ok {
			r.option(name, s)
		}
	}
}

func (r *reader) option(name string, s source) {
	if before, twice := r.options[name]; twice {
		r.add(s.line, s.path, "is given twice, before as %s in line %d; keep one", before.path, before.line)
		return
	}
	r.options[name] = s
}
