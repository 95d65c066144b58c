package main

import (
	"fmt"
	"io"
	"os"
	"slices"
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

// gap is the space between two columns, and the indentation of a note.
const gap = 2

// table is written with aligned columns in at most 80 columns of the screen. Where
// the cells are too long for that, a name stands on a line of its own before the
// rest of its row, so that it can be copied whole; other cells are broken.
type table struct {
	head []string
	rows []row
}

// row is one row, and paragraphs that are written below it, indented.
type row struct {
	cells []cell
	notes []string
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, row{cells: cells}) }

// note puts paragraphs below the row that was added last.
func (t *table) note(texts ...string) { t.rows[len(t.rows)-1].notes = texts }

func (t *table) write(w io.Writer) {
	width, colour := t.widths(), coloured(w)
	head := make([]cell, len(t.head))
	for i, h := range t.head {
		head[i] = cell{text: h}
	}
	for _, r := range append([]row{{cells: head}}, t.rows...) {
		writeRow(w, r.cells, width, colour)
		for _, note := range r.notes {
			for _, line := range wrap(note, screen-gap) {
				fmt.Fprintf(w, "%*s%s\n", gap, "", line)
			}
		}
	}
}

// widths gives each column what its longest cell needs, or less where all of them
// together are too wide: first the names, then whichever is the widest.
func (t *table) widths() []int {
	width := make([]int, len(t.head))
	total := gap * (len(t.head) - 1)
	for i, h := range t.head {
		width[i] = utf8.RuneCountInString(h)
		for _, r := range t.rows {
			width[i] = max(width[i], utf8.RuneCountInString(r.cells[i].text))
		}
		total += width[i]
	}
	least := utf8.RuneCountInString(t.head[0])
	if total > screen {
		less := min(total-screen, width[0]-least)
		width[0] -= less
		total -= less
	}
	for ; total > screen; total-- {
		width[slices.Index(width, slices.Max(width))]--
	}
	return width
}

// writeRow writes the cells side by side, over as many lines as the longest takes.
func writeRow(w io.Writer, cells []cell, width []int, colour bool) {
	lines := make([][]string, len(cells))
	height := 1
	for i, c := range cells {
		lines[i] = wrap(c.text, width[i])
		if i > 0 {
			height = max(height, len(lines[i]))
		}
	}
	if len(lines[0]) > 1 {
		for _, line := range wrap(cells[0].text, screen) {
			fmt.Fprintln(w, paint(line, cells[0].style, colour))
		}
		lines[0] = nil
	}
	for at := range height {
		var out strings.Builder
		pending := 0
		for i, c := range cells {
			piece := ""
			if at < len(lines[i]) {
				piece = lines[i][at]
				out.WriteString(strings.Repeat(" ", pending) + paint(piece, c.style, colour))
				pending = 0
			}
			pending += width[i] - utf8.RuneCountInString(piece) + gap
		}
		fmt.Fprintln(w, out.String())
	}
}

func paint(s string, st style, colour bool) string {
	code := map[style]string{styleGood: "32", styleBad: "31", styleWait: "33"}[st]
	if !colour || code == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// coloured says whether colour is wanted (https://no-color.org) and seen.
func coloured(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
}
