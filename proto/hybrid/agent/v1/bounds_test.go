package agentv1_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryFieldStatesItsBound: a text, a list and a map without one are as large
// as a peer likes.
func TestEveryFieldStatesItsBound(t *testing.T) {
	files, err := filepath.Glob("../../*/v1/*.proto")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d .proto files found, %v", len(files), err)
	}
	field := regexp.MustCompile(`^\s+(repeated |map<|string |bytes ).*(\w+) = \d+;`)
	bound := regexp.MustCompile(`(?i)at most [\d,]+|[\d,]+ (KiB|bytes)\b|[\d,]+ to [\d,]+`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		comment := ""
		for i, line := range strings.Split(string(text), "\n") {
			if c, ok := strings.CutPrefix(strings.TrimSpace(line), "//"); ok {
				comment += c
				continue
			}
			if field.MatchString(line) && !bound.MatchString(comment) {
				t.Errorf("%s:%d: %s states no bound", file, i+1, strings.TrimSpace(line))
			}
			comment = ""
		}
	}
}
