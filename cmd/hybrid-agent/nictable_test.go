package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// uglyHost is a host with twelve links of long names, as SelectNIC judges them;
// hybridctl shows the same file.
func uglyHost(t *testing.T) []*agentv1.NIC {
	t.Helper()
	text, err := os.ReadFile("../testdata/nics/nics.json")
	if err != nil {
		t.Fatal(err)
	}
	var list localv1.ListNICsResponse
	if err := protojson.Unmarshal(text, &list); err != nil || len(list.GetNics()) != 12 {
		t.Fatalf("%d NICs, %v", len(list.GetNics()), err)
	}
	return list.GetNics()
}

func TestNICTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	writeNICs(&out, false, uglyHost(t))
	want, err := os.ReadFile("../testdata/nics/nics.txt")
	if err != nil || out.String() != string(want) {
		t.Errorf("%v, got\n%s", err, out.String())
	}
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > width || strings.TrimRight(line, " ") != line {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

// TestNICTableOnATerminal: colour does not move columns, and names do not colour.
func TestNICTableOnATerminal(t *testing.T) {
	t.Parallel()
	var plain, coloured bytes.Buffer
	nics := uglyHost(t)
	nics[3].Name = "\x1b[31meth0"
	writeNICs(&plain, false, nics)
	writeNICs(&coloured, true, nics)
	bare := coloured.String()
	for _, code := range []string{"\x1b[32m", "\x1b[2m", "\x1b[0m"} {
		bare = strings.ReplaceAll(bare, code, "")
	}
	if bare != plain.String() || strings.Contains(plain.String(), "\x1b") || !strings.Contains(coloured.String(), "\x1b[32mselected\x1b[0m") {
		t.Errorf("plain\n%q\ncoloured\n%q", plain.String(), coloured.String())
	}
}

// nicSource answers with other NICs.
type nicSource struct {
	source
	nics []*agentv1.NIC
}

func (s nicSource) NICs() []*agentv1.NIC { return s.nics }

func TestNICsOverTheSocket(t *testing.T) {
	t.Parallel()
	nics := uglyHost(t)
	socket := serveSource(t, nicSource{nics: nics})
	want, err := os.ReadFile("../testdata/nics/nics.txt")
	if err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := run(t, "nics", "--socket", socket); code != 0 || stdout != string(want) || stderr != "" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	var list struct {
		NICs []struct {
			Name                string
			Selected, Candidate bool
			Reasons, Addresses  []string
		}
	}
	code, stdout, _ := run(t, "nics", "-o", "json", "--socket", socket)
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != 0 || len(list.NICs) != 12 {
		t.Fatalf("exit %d, %v in %s", code, err, stdout)
	}
	if n := list.NICs[0]; n.Name != "bond0.4001" || !n.Selected || !n.Candidate || len(n.Reasons) != 4 || len(n.Addresses) != 9 {
		t.Errorf("the first is %+v", n)
	}
	for _, n := range list.NICs {
		if len(n.Reasons) == 0 {
			t.Errorf("%s has no reason", n.Name)
		}
	}
	if code, stdout, _ := run(t, "nics", "-o", "yaml", "--socket", socket); code != 0 || !strings.Contains(stdout, "- name: bond0.4001\n") || !strings.Contains(stdout, "selected: true\n") {
		t.Errorf("exit %d, %s", code, stdout)
	}
}

// TestNoNICSelected points to where the refusal stands.
func TestNoNICSelected(t *testing.T) {
	t.Parallel()
	nics := uglyHost(t)[1:]
	code, stdout, stderr := run(t, "nics", "--socket", serveSource(t, nicSource{nics: nics}))
	if code != 0 || strings.Contains(stdout, "selected") || !strings.Contains(stderr, "no NIC is selected; 'hybrid-agent status' says why") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}
