package nodeadm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// disguises are the forms in which a secret turns up in logs, the longest first,
// so that none leaves a rest of another.
func disguises(secret string) []string {
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), unquoted(strconv.Quote(secret))}
	for _, escapeHTML := range []bool{true, false} {
		once := inJSON(secret, escapeHTML)
		// A log line quotes what was JSON already.
		forms = append(forms, once, inJSON(once, escapeHTML))
	}
	forms = append(forms, inBase64(secret, base64.RawStdEncoding)...)
	forms = append(forms, inBase64(secret, base64.RawURLEncoding)...)
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	return slices.DeleteFunc(slices.Compact(forms), func(form string) bool { return len(form) < minSecret })
}

// inJSON is a text as it stands between the quotes of a JSON string.
func inJSON(text string, escapeHTML bool) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(escapeHTML)
	if encoder.Encode(text) != nil {
		return text
	}
	return unquoted(strings.TrimSuffix(out.String(), "\n"))
}

func unquoted(text string) string { return text[1 : len(text)-1] }

// inBase64 returns what base64 makes of a secret somewhere in a longer text: for
// each of the three places at which it may begin within a group of three bytes,
// the characters that only the secret decides.
func inBase64(secret string, encoding *base64.Encoding) []string {
	var forms []string
	for shift := range 3 {
		text := encoding.EncodeToString(append(make([]byte, shift), secret...))
		from, to := (shift*8+5)/6, (shift+len(secret))*8/6
		if form := text[from:to]; len(form) >= minSecret {
			forms = append(forms, form)
		}
	}
	return forms
}
