package nodeadm_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"hybridagent/nodeadm"
)

func TestParseLine(t *testing.T) {
	for _, c := range []struct{ line, level, text string }{
		{`{"level":"info","ts":"2026-01-01T00:00:00Z","caller":"flows/install.go:133","msg":"Installing kubelet..."}`, "info", "Installing kubelet..."},
		{`{"level":"info","msg":"Daemon is running","name":"kubelet"}`, "info", "Daemon is running (kubelet)"},
		{`{"level":"fatal","msg":"Command failed","error":"boom\n"}`, "fatal", "Command failed: boom "},
		{"panic: runtime error", "", "panic: runtime error"},
		{"E0101 klog line\t\x1b[31mred", "", "E0101 klog line [31mred"},
		{`{"broken`, "", `{"broken`},
		{`{"level":"info"}`, "", `{"level":"info"}`},
		{"", "", ""},
	} {
		line := nodeadm.ParseLine(c.line)
		if line.Level != c.level || line.Text() != c.text {
			t.Errorf("ParseLine(%q) = %q %q, want %q %q", c.line, line.Level, line.Text(), c.level, c.text)
		}
	}
}

// FuzzParseLine checks that whatever nodeadm prints becomes a short text that
// protobuf and a terminal take.
func FuzzParseLine(f *testing.F) {
	f.Add(`{"level":"info","msg":"Installing kubelet..."}`)
	f.Add("\xff\xfe{\x00")
	f.Add(strings.Repeat("é", 600))
	f.Add(`{"level":"error","msg":"a","error":"` + strings.Repeat("\\u0007x", 300) + `"}`)
	redactor := nodeadm.NewRedactor("a-secret-of-the-test")
	f.Fuzz(func(t *testing.T, input string) {
		text := nodeadm.ParseLine(redactor.Redact(input)).Text()
		if !utf8.ValidString(text) || len(text) > 512 {
			t.Errorf("text %q of %d bytes", text, len(text))
		}
		if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
			t.Errorf("text %q holds a control character", text)
		}
		if strings.Contains(text, "a-secret-of-the-test") {
			t.Errorf("text %q holds the secret", text)
		}
	})
}

func TestRedact(t *testing.T) {
	redactor := nodeadm.NewRedactor("known-secret-value", "short", "")
	for input, want := range map[string]string{
		"ssm-setup-cli -register -activation-code abcdefghijklmnopqrst -region x": "ssm-setup-cli -register -activation-code [redacted] -region x",
		`args: ["-activation-code","abcdefghijklmnopqrst","-x"]`:                  `args: ["-activation-code","[redacted]","-x"]`,
		`{"activationCode":"abcdefghijklmnopqrst","activationId":"i"}`:            `{"activationCode":"[redacted]","activationId":"i"}`,
		"activationCode: abcdefghijklmnopqrst":                                    "activationCode: [redacted]",
		"it says known-secret-value twice: known-secret-value":                    "it says [redacted] twice: [redacted]",
		"-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----\nx":   "[redacted]\nx",
		"aws_secret_access_key = abc/def":                                         "aws_secret_access_key = [redacted]",
		"a short word stays":                                                      "a short word stays",
	} {
		if got := redactor.Redact(input); got != want {
			t.Errorf("Redact(%q) = %q, want %q", input, got, want)
		}
	}
}

func TestRedactKeyOverSeveralLines(t *testing.T) {
	redact := nodeadm.NewRedactor().Lines()
	var got []string
	for _, line := range []string{"before", "key: -----BEGIN PRIVATE KEY-----", "MIGHAgEAMBMGByqGSM49", "-----END PRIVATE KEY-----", "after"} {
		got = append(got, redact(line))
	}
	if text := strings.Join(got, "|"); text != "before|key: [redacted]|[redacted]|[redacted]|after" {
		t.Errorf("redacted lines = %q", text)
	}
}
