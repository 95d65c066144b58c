package nodeadm

import (
	"regexp"
	"strings"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// Secrets that are known by their form rather than by their value. nodeadm puts
// the activation code into the arguments of ssm-setup-cli and logs those.
var (
	keyBlock  = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(-----END [A-Z ]*PRIVATE KEY-----)?`)
	keyBegin  = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)
	keyEnd    = regexp.MustCompile(`-----END [A-Z ]*PRIVATE KEY-----`)
	codeFlag  = regexp.MustCompile(`(?i)(-{1,2}activation-code["'\s=:,\\]+)[^\s"',\]\\]+`)
	codeField = regexp.MustCompile(`(?i)(activation[_-]?code["'\s=:\\]+)[^\s"',}\\]+`)
	// Of a URL: quotes, colons and blanks are escaped, and so are +, / and = of a code.
	codeEscaped = regexp.MustCompile(`(?i)(activation[_-]?code(?:%22|%27|%3A|%3D|%20|%5C|[=+])+)(?:[^\s"'&,}%\\]|%2[BF]|%3D)+`)
	secretField = regexp.MustCompile(`(?i)((?:aws_secret_access_key|aws_session_token|secretaccesskey|sessiontoken)["\s=:\\]+)[^\s",}\\]+`)
)

// minSecret is the length from which on a value is looked for, in bytes.
const minSecret = 8

// Redactor removes secrets from texts that are kept, shown or sent.
type Redactor struct{ replace *strings.Replacer }

// NewRedactor returns a redactor that knows the given secrets by value, beside
// those it knows by form: private keys, activation codes, AWS session secrets.
// A value is found plain, as JSON, Go and URLs escape it, and inside base64.
// Values of less than eight bytes are left alone: they would tear holes into
// innocent words.
func NewRedactor(secrets ...string) *Redactor {
	var pairs []string
	for _, secret := range secrets {
		if len(secret) < minSecret {
			continue
		}
		for _, form := range disguises(secret) {
			pairs = append(pairs, form, redacted)
		}
	}
	return &Redactor{replace: strings.NewReplacer(pairs...)}
}

// Secrets returns the secret values of a node part.
func Secrets(spec *agentv1.NodeSpec) []string {
	return []string{spec.GetAccess().GetSsm().GetActivationCode()}
}

// Redact returns the text without secrets.
func (r *Redactor) Redact(text string) string {
	// By form first: the placeholder of a value would be taken for a value.
	text = keyBlock.ReplaceAllString(text, redacted)
	text = codeFlag.ReplaceAllString(text, "${1}"+redacted)
	text = codeField.ReplaceAllString(text, "${1}"+redacted)
	text = codeEscaped.ReplaceAllString(text, "${1}"+redacted)
	text = secretField.ReplaceAllString(text, "${1}"+redacted)
	return r.replace.Replace(text)
}

// Lines returns a function that redacts the lines of one output in their order:
// a private key in plain text that spans several lines is removed with all of them.
func (r *Redactor) Lines() func(line string) string {
	inKey := false
	return func(line string) string {
		begins, ends := keyBegin.MatchString(line), keyEnd.MatchString(line)
		switch {
		case inKey && !strings.HasPrefix(line, "{"):
			inKey = !ends
			return redacted
		default:
			// A log line of its own ends a key that was cut off.
			inKey = begins && !ends
		}
		return r.Redact(line)
	}
}
