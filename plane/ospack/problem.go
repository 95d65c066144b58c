package ospack

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a manifest.
type Problem struct {
	// Line of the manifest, counted from 1; 0: no single line is to blame.
	Line int
	// Field is the path of the field, for example pack.drain.timeout.
	Field string
	// Text says what is wrong and what to write instead.
	Text string
}

// String is the problem in one line.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.Field + ": " + p.Text
	}
	return fmt.Sprintf("line %d, %s: %s", p.Line, p.Field, p.Text)
}

// Problems are everything that is wrong with a manifest; never empty as an error.
type Problems []Problem

// Error has one problem a line.
func (p Problems) Error() string {
	lines := make([]string, 0, len(p))
	for _, one := range p {
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// maxProblems ends the reading of a manifest that is something else altogether.
const maxProblems = 20

func (r *reader) add(line int, field, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{Line: line, Field: field, Text: fmt.Sprintf(format, args...)})
	}
}
