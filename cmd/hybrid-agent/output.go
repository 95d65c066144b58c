package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// width is what every terminal has.
const width = 80

// checkFormat refuses values of -o that there are not.
func checkFormat(format string) error {
	switch format {
	case "table", "json", "yaml":
		return nil
	}
	return usage(fmt.Errorf("cannot print as %q: -o takes table, json or yaml", format))
}

// printMessage prints a message as JSON or YAML, with the names of the .proto
// file and every field.
func printMessage(w io.Writer, format string, message proto.Message) error {
	options := protojson.MarshalOptions{Multiline: true, Indent: "  ", UseProtoNames: true, EmitUnpopulated: true}
	text, err := options.Marshal(message)
	if err == nil && format == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return fmt.Errorf("cannot print as %s: %w", format, err)
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(text), "\n"))
	return err
}

// painter colours words where somebody sees it.
type painter bool

func newPainter(w io.Writer) painter {
	file, ok := w.(*os.File)
	return painter(ok && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "")
}

func (p painter) good(text string) string { return p.paint("32", text) }
func (p painter) bad(text string) string  { return p.paint("31", text) }
func (p painter) dim(text string) string  { return p.paint("2", text) }

func (p painter) paint(code, text string) string {
	if !p {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// wrap breaks a text into lines of at most most bytes, between words where it can.
func wrap(text string, most int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for len(word) > most {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			lines, word = append(lines, word[:most]), word[most:]
		}
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= most:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// age writes a time span in its greatest unit: 45s, 12m, 3h, 9d.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// millis writes a short time span in milliseconds.
func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
