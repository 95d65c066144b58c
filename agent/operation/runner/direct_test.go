package runner

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell runs a script with the direct runner.
func shell(ctx context.Context, t *testing.T, dir, script string) (Result, []string, error) {
	t.Helper()
	direct, err := NewDirect(zaptest.NewLogger(t), filepath.Join(dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	result, err := direct.Run(ctx, Command{
		ID: "run-" + strings.ReplaceAll(t.Name(), "/", "-"), Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin", "DIR=" + dir},
	}, func(line string) { lines = append(lines, line) })
	if left, _ := filepath.Glob(filepath.Join(dir, "runs", "*")); len(left) > 0 {
		t.Errorf("output is left: %v", left)
	}
	return result, lines, err
}

func TestDirectResults(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         Result
		lines        string
	}{
		{"zero", "echo out; echo err >&2", Result{}, "out|err"},
		{"no newline", "printf a", Result{}, "a"},
		{"code", "exit 3", Result{Code: 3}, ""},
		{"signal", "kill -SEGV $$", Result{Code: -1, Signal: "SIGSEGV"}, ""},
		{"environment", `echo "$HOME-$HYBRID_AGENT_RUN"`, Result{}, "-run-TestDirectResults-environment"},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, lines, err := shell(t.Context(), t, t.TempDir(), c.script)
			if err != nil || result != c.want || strings.Join(lines, "|") != c.lines {
				t.Errorf("Run = %+v, %q, %v; want %+v, %q", result, lines, err, c.want, c.lines)
			}
		})
	}
	if _, _, err := shell(t.Context(), t, t.TempDir(), strings.Repeat("echo 0123456789abcdef;", 5000)); err != nil {
		t.Errorf("much output: %v", err)
	}
}

func TestDirectMissingProgram(t *testing.T) {
	direct, err := NewDirect(zaptest.NewLogger(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Run(t.Context(), Command{ID: "x", Path: "/no/such/program"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run = %v", err)
	}
}

// daemon is a script line that starts a process in a session of its own, writes
// its number to a file, and sheds the environment if asked.
func daemon(file, env string) string {
	return `(setsid ` + env + ` sh -c 'echo $$ > "$0/` + file + `.tmp"; mv "$0/` + file + `.tmp" "$0/` + file + `"; exec sleep 1000' "$DIR" &) ; while ! [ -e "$DIR/` + file + `" ]; do sleep 0.01; done; `
}

func pidIn(t *testing.T, path string) int {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool { return !errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

func TestDirectDeadlineKillsEverything(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	result, lines, err := shell(ctx, t, dir, daemon("tagged", "")+daemon("scrubbed", "env -i PATH=/usr/bin:/bin")+`sleep 1000 & echo ready; wait`)
	if err != nil || !result.Deadline || strings.Join(lines, "") != "ready" {
		t.Errorf("Run = %+v, %q, %v", result, lines, err)
	}
	for _, name := range []string{"tagged", "scrubbed"} {
		if pid := pidIn(t, filepath.Join(dir, name)); alive(pid) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Errorf("the %s daemon lives on", name)
		}
	}
}

func TestDirectCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, _, err := shell(ctx, t, t.TempDir(), "sleep 1000")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}

// TestDirectLeavesServices checks that a successful run may leave a service
// behind, that a failed one may not, and that the next run with the same name
// ends what is left.
func TestDirectLeavesServices(t *testing.T) {
	dir := t.TempDir()
	if result, _, err := shell(t.Context(), t, dir, daemon("kept", "")); err != nil || result.Code != 0 {
		t.Fatalf("Run = %+v, %v", result, err)
	}
	kept := pidIn(t, filepath.Join(dir, "kept"))
	if !alive(kept) {
		t.Error("a successful run lost its service")
	}
	if result, _, err := shell(t.Context(), t, dir, daemon("failed", "")+"exit 1"); err != nil || result.Code != 1 {
		t.Fatalf("Run = %+v, %v", result, err)
	}
	if alive(kept) {
		_ = unix.Kill(kept, unix.SIGKILL)
		t.Error("the next run of the same name met the old one's service")
	}
	if pid := pidIn(t, filepath.Join(dir, "failed")); alive(pid) {
		_ = unix.Kill(pid, unix.SIGKILL)
		t.Error("a failed run left a service behind")
	}
}

// TestDirectNeverTwoAtOnce starts what a killed hybrid-agent-op leaves behind, a
// process of a run and its output: the next run of another name ends it, and so
// does Stop.
func TestDirectNeverTwoAtOnce(t *testing.T) {
	dir := t.TempDir()
	left := func() *exec.Cmd {
		out, err := createOutput(filepath.Join(dir, "runs"), "old-run")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = out.close() })
		old := exec.Command("/bin/sleep", "1000")
		old.Env = []string{runVariable + "=old-run"}
		old.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		return old
	}
	direct, err := NewDirect(zaptest.NewLogger(t), filepath.Join(dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func() error{
		"stop": func() error { return direct.Stop(t.Context(), "old-run") },
		// A step that runs several programs names each after itself.
		"stop of what it is a part of": func() error { return direct.Stop(t.Context(), "old") },
		"run": func() error {
			_, err := direct.Run(t.Context(), Command{ID: "new-run", Path: "/bin/true"}, func(string) {})
			return err
		},
	} {
		old := left()
		exited, err := direct.start(old)
		if err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case <-exited:
		default:
			if alive(old.Process.Pid) {
				_ = old.Process.Kill()
				t.Errorf("%s: the old run lives on", name)
			}
			<-exited
		}
		if ids, err := unfinished(filepath.Join(dir, "runs")); err != nil || len(ids) > 0 {
			t.Errorf("%s: unfinished = %v, %v", name, ids, err)
		}
	}
}

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		stat string
		want process
		ok   bool
	}{
		{"12 (sh) S 1 12 11 0 -1", process{pid: 12, parent: 1, group: 12, session: 11, state: 'S'}, true},
		{"12 (a) b) Z 3 4 5 0", process{pid: 12, parent: 3, group: 4, session: 5, state: 'Z'}, true},
		{"", process{}, false},
		{"12 (sh) S 1", process{}, false},
		{"x (sh) S 1 2 3 4", process{}, false},
	} {
		if got, ok := parseStat(c.stat); got != c.want || ok != c.ok {
			t.Errorf("parseStat(%q) = %+v, %v", c.stat, got, ok)
		}
	}
}

func TestLongLinesAreCut(t *testing.T) {
	out, err := createOutput(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out.path, []byte(strings.Repeat("x", maxLine+10)+"\r\nend"), 0o600); err != nil {
		t.Fatal(err)
	}
	var lines []string
	if err := out.finish(func(line string) { lines = append(lines, line) }, true); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 3 || len(lines[0]) != maxLine || lines[1] != strings.Repeat("x", 10) || lines[2] != "end" {
		t.Errorf("%d lines", len(lines))
	}
}

// TestOutputIsBounded writes as a program that says too much does, through the
// file that the direct runner gives it.
func TestOutputIsBounded(t *testing.T) {
	out, err := createOutput(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	follow, err := openOutput(filepath.Dir(out.path), "x")
	if err != nil {
		t.Fatal(err)
	}
	block := []byte(strings.Repeat(strings.Repeat("x", 1<<10)+"\n", 512))
	var lines []string
	onLine := func(line string) { lines = append(lines, line) }
	size := func() int64 {
		info, err := os.Stat(out.path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for written := 0; written < 3*maxOutput; written += len(block) {
		if _, err := out.file.Write(block); err != nil {
			t.Fatal(err)
		}
		if err := follow.read(onLine); err != nil {
			t.Fatal(err)
		}
		if got := size(); got > maxOutput+int64(len(block)) {
			t.Fatalf("the output has %d bytes", got)
		}
	}
	if len(lines) < 3*maxOutput/1025 {
		t.Errorf("%d lines were read", len(lines))
	}
	// Faster than it is read: what is lost is told.
	for range 2 * maxOutput / len(block) {
		if _, err := out.file.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	lines = nil
	if err := follow.read(onLine); err != nil {
		t.Fatal(err)
	}
	if got := size(); got != 0 || len(lines) > 2*maxRead/1025 || !strings.Contains(lines[len(lines)-1], "written too fast to be kept") {
		t.Errorf("the output has %d bytes, %d lines were read, the last %q", got, len(lines), lines[len(lines)-1])
	}
	if _, err := out.file.WriteString("the end"); err != nil {
		t.Fatal(err)
	}
	lines = nil
	if err := errors.Join(follow.finish(onLine, true), out.close()); err != nil || strings.Join(lines, "|") != "the end" {
		t.Errorf("finish = %v, lines %q", err, lines)
	}
}
