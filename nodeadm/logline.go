package nodeadm

import (
	"encoding/json"
	"strings"
	"unicode"
)

// maxLine bounds the text of one log line, in bytes, as operation.proto says of
// progress lines.
const maxLine = 512

// Line is one line of nodeadm's output.
type Line struct {
	// Level is debug, info, warn, error, fatal, or empty for plain text: help,
	// usage errors, panics, klog lines.
	Level string
	// Message is the line's own text.
	Message string
	// Error is the error that the line carries, or empty.
	Error string
	// Remediation is nodeadm's own advice, or empty.
	Remediation string
}

// ParseLine reads one line: zap's JSON, or plain text. It never fails.
func ParseLine(line string) Line {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "{") {
		return Line{Message: clean(line)}
	}
	var fields struct {
		Level       string `json:"level"`
		Message     string `json:"msg"`
		Error       string `json:"error"`
		Remediation string `json:"remediation"`
		Name        string `json:"name"`
		Validation  string `json:"validation"`
	}
	if err := json.Unmarshal([]byte(line), &fields); err != nil || fields.Message == "" {
		return Line{Message: clean(line)}
	}
	message := fields.Message
	// "Daemon is running" and "Validation failed" say nothing without a name.
	for _, name := range []string{fields.Name, fields.Validation} {
		if name != "" {
			message += " (" + name + ")"
		}
	}
	return Line{
		Level: clean(fields.Level), Message: clean(message), Error: clean(fields.Error), Remediation: clean(fields.Remediation),
	}
}

// Text is the line for people, at most 512 bytes of valid UTF-8 without control
// characters.
func (l Line) Text() string {
	text := l.Message
	if l.Error != "" {
		text += ": " + l.Error
	}
	return bound(text)
}

// bad reports whether the line tells of a failure.
func (l Line) bad() bool { return l.Level == "fatal" || l.Level == "error" || l.Level == "panic" }

// clean makes a foreign text safe for terminals and for protobuf strings.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// bound cuts a text at maxLine bytes, at a rune's edge.
func bound(text string) string {
	if len(text) <= maxLine {
		return text
	}
	return strings.ToValidUTF8(text[:maxLine-len("…")], "") + "…"
}
