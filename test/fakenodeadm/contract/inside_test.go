//go:build systemd

package contract

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hybridagent/test/fakeaws/server"
	"hybridagent/test/fakenodeadm/facts"
)

// machine is the systemd host that this binary runs on, seen from inside, in the course of one case.
type machine struct {
	t      *testing.T
	table  *facts.Table
	real   bool
	server *server.Server
	aws    string // AWS_ENDPOINT_URL
	scale  string // FAKENODEADM_TIME_SCALE
}

// The addresses of the recorded runs; nobody listens on closed.
const (
	awsAddr  = "127.0.0.1:9000"
	kubeAddr = "127.0.0.1:6443"
	closed   = "127.0.0.1:9009"
)

func inside(t *testing.T) {
	table, err := facts.Load(insideTable)
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(insideReal)
	host := &machine{t: t, table: table, real: err == nil}
	host.image()
	for i := range table.Cases {
		c := &table.Cases[i]
		t.Run(c.Name, func(t *testing.T) {
			m := &machine{t: t, table: table, real: host.real}
			m.clean()
			m.compare(c)
		})
	}
}

func (m *machine) compare(c *facts.Case) {
	t := m.t
	for _, step := range c.Setup {
		m.step(step)
	}
	m.settle()
	before := m.snapshot()
	m.must(before.Age("/"))
	invocations := m.invocations(c)
	m.server.ResetCalls()

	stdout, stderr, code := m.exec(c.Args, c.Exit == 137)

	if code != c.Exit {
		t.Errorf("exit code %d, want %d", code, c.Exit)
	}
	if got := regexp.MustCompile(`(?m)^Version: v.*$`).ReplaceAllString(stdout, "Version: <version>"); got != c.Stdout {
		t.Errorf("stdout %q, want %q", got, c.Stdout)
	}
	lines, err := facts.Messages(m.like(stderr))
	m.must(err)
	for _, diff := range []string{
		facts.DiffLines("message", lines, m.table.MessagesOf(c)), facts.DiffLines("call", m.calls(), m.table.CallsOf(c)),
	} {
		if diff != "" {
			t.Error(diff)
		}
	}
	m.wantFiles(c, before)
	m.wantUnits(c, invocations)
	if got := tracker(); got != c.Tracker {
		t.Errorf("tracker is %s, want %s", got, c.Tracker)
	}
}

// wantFiles waits for the recorded changes: containerd makes its folders a moment after its start.
func (m *machine) wantFiles(c *facts.Case, before facts.Snapshot) {
	m.t.Helper()
	var diffs []string
	m.soon(func() bool {
		diffs = m.table.DiffFiles(c, before.Changes(m.snapshot(), m.like))
		return len(diffs) == 0
	})
	for _, diff := range diffs {
		m.t.Error(diff)
	}
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// snapshot looks where nodeadm writes, and leaves out logs, caches and what belongs to systemd and containerd.
func (m *machine) snapshot() facts.Snapshot {
	m.t.Helper()
	s, err := facts.Take("/", []string{
		"/etc", "/usr/bin/kubelet", "/usr/bin/containerd", "/usr/local/bin", "/opt", "/eks-hybrid", "/root/.aws", "/var/lib/kubelet", "/var/lib/cni",
	}, func(path string) bool {
		return slices.Contains([]string{"/etc/machine-id", "/etc/ld.so.cache", "/etc/resolv.conf", "/usr/local/bin/nodeadm"}, path)
	})
	m.must(err)
	return s
}

// exec runs nodeadm as root; with kill it is killed once it has waited several times for the same thing, or left a cut-off kubelet.
func (m *machine) exec(args []string, kill bool) (stdout, stderr string, code int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/local/bin/nodeadm", args...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "AWS_ENDPOINT_URL=" + m.aws,
		"FAKENODEADM_TIME_SCALE=" + m.scale,
	}
	var out bytes.Buffer
	var errs safeBuffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	m.must(cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-done:
			if ctx.Err() != nil {
				m.t.Errorf("nodeadm did not end by itself")
			}
			return out.String(), errs.String(), exitCode(cmd.ProcessState)
		case <-poll.C:
			info, err := os.Stat("/usr/bin/kubelet")
			if kill && (strings.Count(errs.String(), "not in the desired state yet") >= 4 || err == nil && info.Size() == 40) {
				_ = cmd.Process.Kill()
			}
		}
	}
}

func exitCode(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}

func (m *machine) calls() []string {
	var out []string
	for _, c := range m.server.Calls() {
		status := c.Status
		if status == 0 {
			status = 499 // never answered: the client went away
		}
		if c.Service != "registry" {
			out = append(out, facts.Call(c.Service, c.Method, c.Path, c.Action, c.Target, status))
		}
	}
	return out
}

// like puts the recorded runs' placeholders in place of this run's values.
func (m *machine) like(text string) string {
	text = strings.NewReplacer(`"status":"unknown"`, `"status":"<stopped or unknown>"`, `"status":"stopped"`, `"status":"<stopped or unknown>"`,
		string(m.server.CA()), "<PEM CERTIFICATE>\n").Replace(text)
	text = regexp.MustCompile(`"cpu": "\d+m"`).ReplaceAllString(text, `"cpu": "<by CPU count>"`)
	text = regexp.MustCompile(`"image-ref":"sha256:[0-9a-f]+"`).ReplaceAllString(text, `"image-ref":"`+recordedImage+`"`)
	return regexp.MustCompile(`"memory": "\d+[GM]i"`).ReplaceAllString(text, `"memory": "<by memory>"`)
}

const recordedImage = "sha256:e40e5a4e976762d0a0f2f8b030ad21069a61b379428c49ad53b5c4bddbbaab66"

func tracker() string {
	info, err := os.Stat("/opt/nodeadm/tracker")
	switch {
	case err != nil:
		return "absent"
	case info.Size() == 0:
		return "empty"
	}
	return "present"
}
