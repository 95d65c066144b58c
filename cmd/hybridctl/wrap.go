package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// screen is the width, in columns, that every terminal has: whatever people read
// fits into it.
const screen = 80

// wrap breaks a text into lines of at most most columns, between words where it
// can. What a host reported must not steer the operator's terminal: control
// characters are dropped.
func wrap(text string, most int) []string {
	var lines []string
	var line []rune
	for _, field := range strings.FieldsFunc(text, unicode.IsSpace) {
		word := []rune(strings.Map(printable, field))
		if len(word) == 0 {
			continue
		}
		if len(line) > 0 && len(line)+1+len(word) <= most {
			line = append(append(line, ' '), word...)
			continue
		}
		if len(line) > 0 {
			lines = append(lines, string(line))
		}
		for ; len(word) > most; word = word[most:] {
			lines = append(lines, string(word[:most]))
		}
		line = append([]rune(nil), word...)
	}
	if len(line) > 0 {
		lines = append(lines, string(line))
	}
	return lines
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}

// label is the width of a sheet's left column.
const label = 14

// sheet writes labelled lines; what is too long goes on below its beginning.
type sheet struct{ w io.Writer }

func (s sheet) line(name string, texts ...string) {
	name += ":"
	for _, text := range texts {
		for _, line := range wrap(text, screen-label) {
			fmt.Fprintf(s.w, "%-*s%s\n", label, name, line)
			name = ""
		}
	}
}
