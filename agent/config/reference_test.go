package config

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

const reference = "../../packaging/config/config.yaml"

// TestShippedReference: the file that the packages install parses once the two
// values are filled in that only a site knows, and so does every key that it
// shows commented out.
func TestShippedReference(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^(\s*address:).*$`).ReplaceAllString(string(content), "$1 plane.example:7443")
	text = regexp.MustCompile(`(?m)^(\s*caPin:).*$`).ReplaceAllString(text, "$1 sha256:"+strings.Repeat("0a", 32))
	keys := strings.Index(text, "caPin:") // prose stands above, commented keys below
	text = text[:keys] + regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(text[keys:], "")
	got, err := Parse(reference, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse("minimal", bytes.NewReader([]byte("plane: {address: \"plane.example:7443\", caPin: \"sha256:"+strings.Repeat("0a", 32)+"\"}")))
	if err != nil {
		t.Fatal(err)
	}
	if got.Paths != want.Paths || got.Metrics != want.Metrics || got.Log != want.Log || got.Network != want.Network ||
		got.Enrollment != want.Enrollment || got.Host.Prefix != want.Host.Prefix || len(got.Host.DeviceUIDPaths) != 1 || got.Nodeadm.Path != want.Nodeadm.Path {
		t.Errorf("the reference file changes defaults:\n%+v\nwant\n%+v", got, want)
	}
}
