package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// result is how a row came out.
type result string

const (
	held       result = "ok"
	failed     result = "FAILED"
	notReached result = "not reached"
)

// row is one check of the demo. Its ID never changes: tests and people know it.
type row struct {
	id string
	// needs are the rows without which this one means nothing.
	needs []string
	// limit bounds the check.
	limit time.Duration
	check check

	result   result
	evidence string
}

const tableWidth = 80

// printTable writes one line per row, evidence wrapped so that no line is wider than 80 columns.
func printTable(w io.Writer, rows []*row) {
	const idWidth, resultWidth = 22, 11
	indent := strings.Repeat(" ", idWidth+resultWidth+4)
	fmt.Fprintf(w, "%-*s  %-*s  %s\n", idWidth, "CHECK", resultWidth, "RESULT", "EVIDENCE")
	for _, r := range rows {
		lines := wrap(r.evidence, tableWidth-len(indent))
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-*s  %-*s  %s", idWidth, r.id, resultWidth, r.result, lines[0]), " "))
		for _, line := range lines[1:] {
			fmt.Fprintln(w, indent+line)
		}
	}
}

// wrap breaks text into lines of at most width bytes, between words where it can.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for len(word) > width {
			if line != "" {
				lines = append(lines, line)
				line = ""
			}
			lines = append(lines, word[:width])
			word = word[width:]
		}
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
