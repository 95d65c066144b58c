package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestSelectionStories runs the files of testdata/select: what happens to a host,
// step by step, in the text of `ip`. Sections, each in force until the next of its
// name:
//
//	-- ask --     lines "name|mac|vpn|cidrs|toward VALUES…", "hold" for a host that
//	              is a node, "forget" for one that remembers nothing
//	-- host --    ip -d address; it clears the routes
//	-- routes --  ip route
//	-- want --    the verdict on every link; it ends a step
//
// What a step selects is remembered in the next one, as by the daemon.
func TestSelectionStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/select/*.txt")
	must(t, err)
	steps := 0
	for _, file := range files {
		story, err := txtar.ParseFile(file)
		must(t, err)
		for _, f := range story.Files {
			if f.Name == "want" {
				steps++
			}
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			got := tell(t, story)
			if os.Getenv("UPDATE") != "" {
				must(t, os.WriteFile(file, txtar.Format(story), 0o644))
			}
			for _, step := range got {
				if step.got != step.want {
					t.Errorf("step %d: got\n%swant\n%s", step.number, step.got, step.want)
				}
			}
		})
	}
	if len(files) < 40 || steps < len(files) {
		t.Errorf("%d stories, %d steps", len(files), steps)
	}
}

type storyStep struct {
	number    int
	got, want string
}

// tell runs the steps of one story. With UPDATE set, the story's own wants become
// what was got.
func tell(t *testing.T, story *txtar.Archive) []storyStep {
	t.Helper()
	var in SelectionInput
	var host, routes string
	var steps []storyStep
	for i, f := range story.Files {
		text := string(f.Data)
		switch f.Name {
		case "ask":
			in = parseAsk(t, text, in)
		case "host":
			host, routes = text, ""
		case "routes":
			routes = text
		case "want":
			inv := parseHost(t, host, routes)
			sel, cands, err := SelectNIC(inv, in)
			checkCandidates(t, inv, cands, err)
			got := verdictText(sel, cands, err)
			steps = append(steps, storyStep{len(steps) + 1, got, text})
			if os.Getenv("UPDATE") != "" {
				story.Files[i].Data = []byte(got)
			}
			in.Sticky = rememberNext(in, sel, err)
		default:
			t.Fatalf("unknown section %q", f.Name)
		}
	}
	return steps
}

// rememberNext is what the daemon does: it keeps what was selected last, and of a
// node the address that kubelet was given.
func rememberNext(in SelectionInput, sel Selection, err error) Remembered {
	if err != nil {
		return in.Sticky
	}
	next := sel.Remember()
	if in.Hold && in.Sticky.NodeIP.IsValid() {
		next.NodeIP = in.Sticky.NodeIP
	}
	return next
}

func parseAsk(t *testing.T, text string, before SelectionInput) SelectionInput {
	t.Helper()
	in := SelectionInput{Sticky: before.Sticky}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch values := words[1:]; words[0] {
		case "name":
			in.Selector.Name = values[0]
		case "mac":
			in.Selector.MAC = values[0]
		case "vpn":
			in.VPNServers = addresses(values...)
		case "toward":
			in.Toward = addresses(values...)
		case "cidrs":
			in.RemoteNodeCIDRs = prefixes(values...)
		case "hold":
			in.Hold = true
		case "forget":
			in.Sticky = Remembered{}
		case "before":
			in.Sticky.Name = values[0]
			if len(values) > 1 {
				in.Sticky.NodeIP = netip.MustParseAddr(values[1])
			}
		default:
			t.Fatalf("unknown question %q", line)
		}
	}
	in.Selector.Auto = in.Selector.auto()
	return in
}

// verdictText writes a selection for reading: "*" selected, "+" could be used, "-"
// rejected; first the refusal, where there is one.
func verdictText(sel Selection, cands []Candidate, err error) string {
	var b strings.Builder
	var se *SelectionError
	if errors.As(err, &se) {
		fmt.Fprintf(&b, "%s, meant %s\n%s\n", se.Code(), se.Meant.Link.Name, se.Refusal.Error())
	} else {
		fmt.Fprintf(&b, "%s %s because %s\n", sel.Link.Name, sel.Prefix, sel.Reason)
	}
	for _, c := range cands {
		mark := "-"
		if c.Accepted {
			mark = "+"
		}
		if c.Selected {
			mark = "*"
		}
		fmt.Fprintf(&b, "%s %s", mark, c.Link.Name)
		if c.NodeIP.IsValid() {
			fmt.Fprintf(&b, " %s", c.NodeIP)
		}
		if c.Code != "" {
			fmt.Fprintf(&b, " %s", c.Code)
		}
		fmt.Fprintf(&b, "\n")
		for _, r := range c.Reasons {
			fmt.Fprintf(&b, "    %s\n", r)
		}
	}
	return b.String()
}
