package facts

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// recording is a transcript of the real program, as far as the table needs it.
type recording struct {
	Scenario string
	Initial  struct {
		Description string
		Tracker     *string
		Files       map[string]string
		Units       map[string]map[string]string
		Fake        struct {
			ECRToken       string `json:"ecr_token"`
			KubeAPI        string `json:"kube_api"`
			ArtifactServer string `json:"artifact_server"`
			EKS            string
			Node           *struct{ Unschedulable bool }
			Pods           []json.RawMessage
		}
		ConfigSources map[string]string `json:"config_sources"`
	}
	Command      []string
	ExitCode     int `json:"exit_code"`
	Stdout       string
	StderrLines  []map[string]any `json:"stderr_lines"`
	HTTPCalls    []httpCall       `json:"http_calls"`
	FilesChanged struct {
		Created, Modified []fileChange
		Removed           []struct{ Path string }
	} `json:"files_changed"`
	TrackerAfter *string `json:"tracker_after"`
	Units        map[string]struct {
		After   map[string]string
		Started bool `json:"started_anew"`
	}
}

type httpCall struct {
	Client, Method, Path, Service, Action string
	Target                                string `json:"x_amz_target"`
	Status, Times                         int
}

type fileChange struct {
	Path, Type, Mode, Target, Content string
	SameContent                       bool `json:"same_content"`
	Before                            struct{ Size int64 }
	After                             struct{ Mode, Content string }
}

// FromFolder makes the table from a folder of transcripts.
func FromFolder(dir string) (*Table, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("cannot find transcripts in %s: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("cannot find transcripts in %s: no .json files there", dir)
	}
	t := &Table{Source: "recorded runs of nodeadm v1.0.20", Configs: map[string]string{}, Contents: map[string]string{}}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var rec recording
		if err := json.Unmarshal(raw, &rec); err != nil {
			return nil, fmt.Errorf("cannot read transcript %s: %w", path, err)
		}
		t.add(strings.TrimSuffix(filepath.Base(path), ".json"), &rec)
	}
	return t, nil
}

func (t *Table) add(name string, r *recording) {
	c := Case{Name: name, Args: r.Command[1:], Exit: r.ExitCode, Stdout: r.Stdout, Tracker: "present"}
	if r.TrackerAfter == nil {
		c.Tracker = "absent"
	} else if *r.TrackerAfter == "" {
		c.Tracker = "empty"
	}
	for uri, text := range r.Initial.ConfigSources {
		t.Configs[strings.TrimPrefix(uri, "file://")] = text
	}
	c.Setup = r.setup()
	c.Messages = t.shorten(r.messages(), func(c *Case) Lines { return c.Messages })
	c.Calls = t.shorten(r.calls(), func(c *Case) Lines { return c.Calls })
	c.Files = t.files(r)
	for i := range t.Cases {
		if len(c.Files) > 3 && t.Cases[i].FilesLike == "" && fmt.Sprint(t.Cases[i].Files) == fmt.Sprint(c.Files) {
			c.Files, c.FilesLike = nil, t.Cases[i].Name
		}
	}
	c.Units = map[string]string{}
	for unit, u := range r.Units {
		if unit == "kubelet" || unit == "containerd" || unit == "aws_signing_helper_update" {
			c.Units[unit] = Unit(u.After, u.Started)
		}
	}
	t.Cases = append(t.Cases, c)
}

// Unit is the state of a unit in one word.
func Unit(state map[string]string, started bool) string {
	if state["LoadState"] == "not-found" {
		return "not-found"
	}
	text := strings.Join([]string{state["LoadState"], state["ActiveState"], state["SubState"], state["UnitFileState"]}, "/")
	if started {
		text += " started anew"
	}
	return text
}

// shorten stores lines by their difference to those of the case that has most in common.
func (t *Table) shorten(lines []string, of func(*Case) Lines) Lines {
	best := Lines{Own: lines}
	for i := range t.Cases {
		c := &t.Cases[i]
		if l := Shorten(c.Name, t.expand(of(c), of), lines); l.Like != "" && len(l.Own) < len(best.Own) {
			best = l
		}
	}
	return best
}

func (r *recording) messages() []string {
	var lines []string
	for _, l := range r.StderrLines {
		n := 1
		if rep, ok := l["repeated"].(float64); ok {
			n = int(rep)
		}
		for range n {
			lines = append(lines, Line(l))
		}
	}
	return Tidy(lines)
}

func (r *recording) calls() []string {
	var out []string
	for _, c := range r.HTTPCalls {
		if c.Client == "containerd" {
			continue // the container runtime's own
		}
		for range max(c.Times, 1) {
			out = append(out, Call(c.Service, c.Method, c.Path, c.Action, c.Target, c.Status))
		}
	}
	return out
}

// Call is one request in one line.
func Call(service, method, path, action, target string, status int) string {
	what := action
	if target != "" {
		what = target[strings.LastIndex(target, ".")+1:]
	}
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s %d", service, method, path, what, status)), " ")
}

func (t *Table) files(r *recording) map[string]string {
	out := map[string]string{}
	content := func(path, text string) string {
		if Artifact(path) {
			return "artifact"
		}
		if path == "/opt/nodeadm/tracker" {
			text = strings.TrimSpace(text) + "\n"
		}
		t.Contents[Hash(text)] = text
		return Hash(text)
	}
	for _, f := range r.FilesChanged.Created {
		switch f.Type {
		case "dir":
			out[f.Path] = "created dir " + f.Mode
		case "symlink":
			out[f.Path] = "created link " + f.Target
		default:
			out[f.Path] = "created file " + f.Mode + " " + content(f.Path, f.Content)
		}
	}
	for _, f := range r.FilesChanged.Modified {
		if f.SameContent {
			out[f.Path] = "rewritten " + f.Mode
			continue
		}
		out[f.Path] = "changed " + f.After.Mode + " " + content(f.Path, f.After.Content)
	}
	for _, f := range r.FilesChanged.Removed {
		out[f.Path] = "removed"
	}
	return out
}
