// Package facts holds the compact table of what the real nodeadm did in recorded runs, and turns both a recording and a run of the
// stand-in into the same short lines, so that the two can be compared. It runs nothing itself.
package facts

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"
)

// Table is the file testdata/facts.json.
type Table struct {
	// Source says which program was recorded.
	Source string `json:"source"`
	// Configs are the NodeConfig files named in commands, by path.
	Configs map[string]string `json:"configs"`
	// Contents are file contents by the short hash that Files name.
	Contents map[string]string `json:"contents"`
	Cases    []Case            `json:"cases"`
}

// Case is one recorded run.
type Case struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	// Setup are the steps from a clean host to the run's initial state; see the steps in Setup.
	Setup []string `json:"setup,omitempty"`
	Exit  int      `json:"exit"`
	// Stdout is compared whole.
	Stdout string `json:"stdout,omitempty"`
	// Messages are the lines of stderr in the form of Line.
	Messages Lines `json:"messages"`
	// Calls are requests to AWS, artifacts and the Kubernetes API in order, as "service METHOD path [action] status".
	Calls Lines `json:"calls,omitzero"`
	// Files are changes by path; FilesLike names a case with exactly the same ones.
	Files     map[string]string `json:"files,omitempty"`
	FilesLike string            `json:"filesLike,omitempty"`
	// Units are the states afterwards, "load/active/sub/enabled" and whether the unit was started anew.
	Units map[string]string `json:"units,omitempty"`
	// Tracker is absent, empty or present afterwards.
	Tracker string `json:"tracker"`
}

// Lines are messages or calls, shortened by what they have in common with another case's: Head lines of its beginning and Tail of
// its end.
type Lines struct {
	Like string   `json:"like,omitempty"`
	Head int      `json:"head,omitempty"`
	Own  []string `json:"own,omitempty"`
	Tail int      `json:"tail,omitempty"`
}

// Load reads the table.
func Load(path string) (*Table, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := &Table{}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(t); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return t, nil
}

// Case returns the case of that name, or nil.
func (t *Table) Case(name string) *Case {
	for i := range t.Cases {
		if t.Cases[i].Name == name {
			return &t.Cases[i]
		}
	}
	return nil
}

// MessagesOf returns all of the case's messages.
func (t *Table) MessagesOf(c *Case) []string {
	return t.expand(c.Messages, func(c *Case) Lines { return c.Messages })
}

// CallsOf returns all of the case's calls.
func (t *Table) CallsOf(c *Case) []string {
	return t.expand(c.Calls, func(c *Case) Lines { return c.Calls })
}

func (t *Table) expand(l Lines, of func(*Case) Lines) []string {
	if l.Like == "" {
		return l.Own
	}
	base := t.expand(of(t.Case(l.Like)), of)
	out := append([]string{}, base[:l.Head]...)
	out = append(out, l.Own...)
	return append(out, base[len(base)-l.Tail:]...)
}

// FilesOf returns the case's file changes.
func (t *Table) FilesOf(c *Case) map[string]string {
	if c.FilesLike != "" {
		return t.Case(c.FilesLike).Files
	}
	return c.Files
}

// Shorten stores lines by their difference to the case base.
func Shorten(base string, baseLines, lines []string) Lines {
	head := 0
	for head < len(baseLines) && head < len(lines) && baseLines[head] == lines[head] {
		head++
	}
	tail := 0
	for tail < len(baseLines)-head && tail < len(lines)-head && baseLines[len(baseLines)-1-tail] == lines[len(lines)-1-tail] {
		tail++
	}
	if head+tail < 5 {
		return Lines{Own: lines}
	}
	return Lines{Like: base, Head: head, Own: lines[head : len(lines)-tail], Tail: tail}
}

// Hash names a content in Contents.
func Hash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:4])
}

// Line is one line of stderr: "level msg key=value …" with keys sorted, or "raw text". Empty means: not compared.
func Line(fields map[string]any) string {
	if raw, ok := fields["raw"].(string); ok {
		if strings.Contains(raw, "remote_image.go") {
			return "" // the container runtime's own log, by timing
		}
		return "raw " + regexp.MustCompile(`pc=\S+\]`).ReplaceAllString(raw, "pc=<addr>]")
	}
	if fields["msg"] == "Daemon is not in the desired state yet" {
		return "" // by timing
	}
	var keys []string
	for k := range fields {
		switch k {
		case "level", "msg", "caller", "ts", "repeated":
		default:
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	text := fmt.Sprintf("%v %v", fields["level"], fields["msg"])
	for _, k := range keys {
		text += " " + k + "=" + value(k, fields[k])
	}
	return text
}

func value(key string, v any) string {
	switch key {
	case "errorVerbose":
		return "<verbose>"
	case "cluster":
		if m, ok := v.(map[string]any); ok {
			m["certificateAuthority"] = "<base64 PEM>"
		}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

// Tidy drops lines that are not compared, the stack after a panic, and repeats of a pull.
func Tidy(lines []string) []string {
	var out []string
	for _, l := range lines {
		if l == "" || len(out) > 0 && out[len(out)-1] == l && strings.Contains(l, "Pulling sandbox image") {
			continue
		}
		out = append(out, l)
		if strings.HasPrefix(l, "raw [signal SIGSEGV") {
			break
		}
	}
	return out
}

// Artifact tells that a file is a downloaded program: its content is the artifact's, not nodeadm's.
func Artifact(path string) bool {
	switch path {
	case "/usr/bin/kubelet", "/usr/local/bin/kubectl", "/usr/local/bin/aws-iam-authenticator", "/usr/local/bin/aws_signing_helper",
		"/opt/cni/bin/loopback", "/etc/eks/image-credential-provider/ecr-credential-provider":
		return true
	}
	return false
}

// parse reads one line of stderr: a JSON object, or raw text.
func parse(text string) (fields map[string]any, isJSON bool) {
	if json.Unmarshal([]byte(text), &fields) == nil && fields != nil {
		return fields, true
	}
	return map[string]any{"raw": text}, false
}
