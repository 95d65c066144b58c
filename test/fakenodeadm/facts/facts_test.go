package facts

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestShortenedLinesExpandToTheSame: whatever two runs have in common, nothing is lost by storing the difference.
func TestShortenedLinesExpandToTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.Map(rapid.IntRange(0, 3), func(n int) string { return fmt.Sprint("line ", n) })
		base := rapid.SliceOfN(line, 0, 20).Draw(t, "base")
		lines := rapid.SliceOfN(line, 0, 20).Draw(t, "lines")
		table := &Table{Cases: []Case{{Name: "base", Messages: Lines{Own: base}}}}
		if got := table.MessagesOf(&Case{Messages: Shorten("base", base, lines)}); !slices.Equal(got, lines) {
			t.Errorf("expanded to %q, want %q", got, lines)
		}
	})
}

func TestEveryReferenceInTheTableResolves(t *testing.T) {
	t.Parallel()
	table, err := Load("../testdata/facts.json")
	if err != nil {
		t.Fatal(err)
	}
	for i := range table.Cases {
		c := &table.Cases[i]
		if c.Messages.Like != "" && table.Case(c.Messages.Like) == nil {
			t.Errorf("%s: messages like %q, which is no case", c.Name, c.Messages.Like)
		}
		if c.Calls.Like != "" && table.Case(c.Calls.Like) == nil {
			t.Errorf("%s: calls like %q, which is no case", c.Name, c.Calls.Like)
		}
		if c.FilesLike != "" && table.Case(c.FilesLike) == nil {
			t.Errorf("%s: files like %q, which is no case", c.Name, c.FilesLike)
		}
	}
	for hash, content := range table.Contents {
		if Hash(content) != hash {
			t.Errorf("content %s has the hash %s", hash, Hash(content))
		}
	}
}
