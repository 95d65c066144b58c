package manifest

import "strings"

// part is the text of one document, and how many lines stand before it.
type part struct {
	text string
	line int
}

// split parts a file into its documents; those of blanks and comments only are
// left out. The parser has a loop of its own for that, which loses what follows
// an empty document. A line that begins with --- or ... is never content, not
// even in a block scalar (YAML 1.2.2, production 206, c-forbidden).
func split(data string) []part {
	data = strings.TrimPrefix(strings.ReplaceAll(data, "\r\n", "\n"), "\ufeff")
	var out []part
	var lines []string
	begin := 0
	flush := func(next int) {
		if hasContent(lines) {
			out = append(out, part{text: strings.Join(lines, "\n") + "\n", line: begin})
		}
		lines, begin = nil, next
	}
	for i, line := range strings.Split(data, "\n") {
		rest, marker := cutMarker(line)
		if !marker {
			lines = append(lines, line)
			continue
		}
		flush(i)
		// What stands behind the marker keeps its column.
		lines = append(lines, "   "+rest)
	}
	flush(0)
	return out
}

func cutMarker(line string) (rest string, ok bool) {
	for _, marker := range []string{"---", "..."} {
		if rest, ok = strings.CutPrefix(line, marker); ok && (rest == "" || strings.ContainsAny(rest[:1], " \t")) {
			return rest, true
		}
	}
	return "", false
}

// hasContent: something but blanks, comments and directives.
func hasContent(lines []string) bool {
	for _, line := range lines {
		text := strings.TrimSpace(line)
		if text != "" && text[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}
