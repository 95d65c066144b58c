package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// style is how a cell is coloured on a terminal.
type style int

const (
	styleNone style = iota
	styleGood
	styleBad
	styleWait
)

// cell is one cell of a table.
type cell struct {
	text  string
	style style
}

func text(s string) cell {
	if s == "" {
		s = "-"
	}
	return cell{text: s}
}

// table is written with aligned columns, two spaces between them; on a terminal
// the last column is cut at its edge.
type table struct {
	head []string
	rows [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) {
	width := make([]int, len(t.head))
	for i, h := range t.head {
		width[i] = utf8.RuneCountInString(h)
	}
	for _, row := range t.rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	edge, colour := terminal(w)
	head := make([]cell, len(t.head))
	for i, h := range t.head {
		head[i] = cell{text: h}
	}
	for _, row := range append([][]cell{head}, t.rows...) {
		writeRow(w, row, width, edge, colour)
	}
}

func writeRow(w io.Writer, row []cell, width []int, edge int, colour bool) {
	var line strings.Builder
	at := 0
	for i, c := range row {
		s := c.text
		last := i == len(row)-1
		if n := edge - at; last && edge > 0 && n > 1 && utf8.RuneCountInString(s) > n {
			s = string([]rune(s)[:n-1]) + "…"
		}
		pad := ""
		if !last {
			pad = strings.Repeat(" ", width[i]-utf8.RuneCountInString(s)+2)
		}
		line.WriteString(paint(s, c.style, colour) + pad)
		at += width[i] + 2
	}
	fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
}

func paint(s string, st style, colour bool) string {
	code := map[style]string{styleGood: "32", styleBad: "31", styleWait: "33"}[st]
	if !colour || code == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// terminal answers the width of a terminal, 0 for anything else, and whether
// colour is wanted on it (https://no-color.org).
func terminal(w io.Writer) (width int, colour bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 80
	}
	return width, os.Getenv("NO_COLOR") == ""
}
