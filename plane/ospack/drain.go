package ospack

import (
	"math"
	"strings"

	"github.com/goccy/go-yaml/ast"

	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// drainKeys are the keys of pack.drain.
func drainKeys() []string {
	return []string{"cordon", "timeout", "gracePeriod", "ignoreDaemonSets", "deleteLocalData", "force", "disableEviction", "skipWaitForDeleteTimeout"}
}

// readDrain reads pack.drain. A key that is commented out has its default; a
// mistyped one must not, so unknown keys are refused here.
func (r *reader) readDrain(section pair) {
	if isNull(r.resolve(section.value)) {
		return
	}
	d := &planev1.DrainSpec{}
	for _, p := range r.mapping(section.value, "pack.drain") {
		path := "pack.drain." + p.key
		switch p.key {
		case "cordon":
			d.Cordon = r.truth(p, path)
		case "timeout":
			d.Timeout = r.seconds(p, path, 0)
		case "gracePeriod":
			if n, ok := r.number(p, path, math.MinInt32, math.MaxInt32, "seconds for each pod; negative: the pod's own"); ok {
				seconds := int32(n)
				d.GracePeriod = &seconds
			}
		case "ignoreDaemonSets":
			d.IgnoreDaemonSets = r.truth(p, path)
		case "deleteLocalData":
			d.DeleteLocalData = r.truth(p, path)
		case "force":
			d.Force = r.truth(p, path)
		case "disableEviction":
			d.DisableEviction = r.truth(p, path)
		case "skipWaitForDeleteTimeout":
			d.SkipWaitForDeleteTimeout = r.seconds(p, path, 1)
		default:
			r.unknownDrain(p, path)
		}
	}
	r.drain = d
}

func (r *reader) unknownDrain(p pair, path string) {
	if near := nearest(p.key, drainKeys()); near != "" {
		r.add(p.line, path, "is unknown; did you mean %s?", near)
		return
	}
	r.add(p.line, path, "is unknown; drain has %s", strings.Join(drainKeys(), ", "))
}

// truth reads true or false; nil where nothing is given, which is the default.
func (r *reader) truth(p pair, path string) *bool {
	n := r.resolve(p.value)
	if isNull(n) {
		return nil
	}
	b, ok := n.(*ast.BoolNode)
	if !ok {
		r.add(p.line, path, "must be true or false, not %s", shown(n))
		return nil
	}
	return &b.Value
}

func (r *reader) seconds(p pair, path string, least int64) *uint32 {
	what := "seconds, 0 for no end"
	if least > 0 {
		what = "seconds, more than 0"
	}
	n, ok := r.number(p, path, least, math.MaxInt32, what)
	if !ok {
		return nil
	}
	seconds := uint32(n)
	return &seconds
}

func (r *reader) number(p pair, path string, least, most int64, what string) (int64, bool) {
	n := r.resolve(p.value)
	if isNull(n) {
		return 0, false
	}
	if i, ok := n.(*ast.IntegerNode); ok {
		if v, ok := whole(i).(int64); ok && v >= least && v <= most {
			return v, true
		}
	}
	r.add(p.line, path, "must be a whole number of %s; not %s", what, shown(n))
	return 0, false
}

// shown is a value as an operator wrote it.
func shown(n ast.Node) string {
	const most = 40
	if text, ok := textOf(n); ok && len(text) <= most {
		return `"` + text + `"`
	}
	return describe(n)
}

// nearest is the known word that a mistyped one stands for, if any is near.
func nearest(word string, known []string) string {
	best, distance := "", min(len(word)/3+1, 3)
	for _, k := range known {
		if d := edits(strings.ToLower(word), strings.ToLower(k)); d <= distance {
			best, distance = k, d-1
		}
	}
	return best
}

// edits is the Levenshtein distance of two words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}
