package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// logger writes JSON lines in the form of zap's production encoder: level, ts, caller, msg, then fields in order.
type logger struct {
	w io.Writer
}

// fields are alternating names and values.
type fields []any

func (l *logger) line(level, caller, msg string, kv fields) {
	var b strings.Builder
	fmt.Fprintf(&b, `{"level":%q,"ts":%.7f,"caller":%q,"msg":%s`, level, float64(time.Now().UnixMicro())/1e6, caller, quote(msg))
	for i := 0; i+1 < len(kv); i += 2 {
		fmt.Fprintf(&b, `,%q:%s`, kv[i], quote(kv[i+1]))
	}
	b.WriteString("}\n")
	io.WriteString(l.w, b.String())
}

func (l *logger) info(caller, msg string, kv ...any) { l.line("info", caller, msg, kv) }
func (l *logger) err(caller, msg string, kv ...any)  { l.line("error", caller, msg, kv) }

// fatal is main's last line. An error with a stack shows it once more, as the errors package of the real program does.
func (l *logger) fatal(err error) {
	kv := fields{"error", err.Error()}
	var st stackError
	if errors.As(err, &st) {
		kv = append(kv, "errorVerbose", err.Error()+"\nstand-in.frames\n\tno stack is recorded")
	}
	l.line("fatal", "nodeadm/main.go:57", "Command failed", kv)
}

// stackError marks errors that the real program makes with a stack trace.
type stackError struct{ error }

func (e stackError) Unwrap() error { return e.error }

func stackf(format string, args ...any) error { return stackError{fmt.Errorf(format, args...)} }

func quote(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return `"?"`
	}
	return strings.TrimSuffix(b.String(), "\n")
}
