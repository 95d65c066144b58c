package nodeadm_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
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

// TestRedactDisguised: a code is found however it is written down, also inside
// something larger.
func TestRedactDisguised(t *testing.T) {
	t.Parallel()
	const secret = `Zqr175DJ+sPQ"<&>\/RHsm=bzzf`
	config := "spec:\n  hybrid:\n    ssm:\n      activationCode: " + secret + "\n      x: y\n"
	asJSON, err := json.Marshal(map[string]string{"code": secret})
	if err != nil {
		t.Fatal(err)
	}
	twice, err := json.Marshal(string(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]string{
		"plain": secret, "JSON": string(asJSON), "JSON in JSON": string(twice), "Go": fmt.Sprintf("%q", secret),
		"query": "https://x/?a=1&c=" + url.QueryEscape(secret) + "&b=2", "path": "https://x/" + url.PathEscape(secret) + "/y",
	}
	for shift := range 3 {
		text := strings.Repeat("-", shift) + config
		forms[fmt.Sprint("base64 ", shift)] = base64.StdEncoding.EncodeToString([]byte(text))
		forms[fmt.Sprint("URL base64 ", shift)] = base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	redactor := nodeadm.NewRedactor(secret)
	for name, text := range forms {
		got := redactor.Redact("before " + text + " after")
		if !strings.Contains(got, "[redacted]") || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
			t.Errorf("%s: %q", name, got)
		}
		for _, part := range []string{"Zqr175DJ", "RHsm", "bzzf"} {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q holds %q", name, got, part)
			}
		}
		// What is left of base64 must not give the secret back.
		for _, word := range strings.FieldsFunc(got, func(r rune) bool { return r == ' ' || r == '[' || r == ']' }) {
			if decoded, err := base64.StdEncoding.DecodeString(word); err == nil && strings.Contains(string(decoded), "Zqr175DJ") {
				t.Errorf("%s: %q decodes to the secret", name, word)
			}
		}
	}
	// Codes that nobody told of, by form.
	for input, want := range map[string]string{
		"body=%7B%22ActivationCode%22%3A%22abc%2Bdef%2F123%22%7D&x=1": "body=%7B%22ActivationCode%22%3A%22[redacted]%22%7D&x=1",
		"?activation_code=abcdefghij%3D&x=1":                          "?activation_code=[redacted]",
		`{\"activationCode\":\"abcdefghij\"}`:                         `{\"activationCode\":\"[redacted]\"}`,
		"-activation-code 'abcdefghij' -region x":                     "-activation-code '[redacted]' -region x",
	} {
		if got := nodeadm.NewRedactor().Redact(input); got != want {
			t.Errorf("Redact(%q) = %q, want %q", input, got, want)
		}
	}
}

// FuzzRedact: whatever the code and whatever stands around it, no form of it
// comes through.
func FuzzRedact(f *testing.F) {
	f.Add("abcdefghij", "x", "y")
	f.Add(`a"b\c/d+e=f`, "{", "}")
	f.Add("[redacted]xyz", "", "")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < 20 || len(secret) > 250 {
			return
		}
		redactor := nodeadm.NewRedactor(secret)
		for name, form := range map[string]string{
			"plain": secret, "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
			"base64": base64.StdEncoding.EncodeToString([]byte(secret)),
		} {
			// Surroundings that happen to hold the form again are no leak of it.
			if got := redactor.Redact(before + "\n" + form + "\n" + after); strings.Contains(got, form) {
				t.Errorf("%s %q comes through in %q", name, form, got)
			}
		}
	})
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
