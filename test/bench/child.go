package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// child is a program that runs in a host.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
	stderr *tail
}

// tail keeps the last bytes of what a child says, for error messages.
type tail struct{ b []byte }

// Write keeps the end of what was written.
func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - 2048; n > 0 {
		t.b = t.b[n:]
	}
	return len(p), nil
}

// start runs a program in the host. It dies with ctx, or with the benchmark.
func (h *host) start(ctx context.Context, path string, args ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, path, args...), stderr: &tail{}}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.cmd.Stderr = c.stderr
	c.cmd.WaitDelay = 5 * time.Second
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdin, c.stdout = in, bufio.NewReader(out)
	if err := h.do(c.cmd.Start); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", path, err)
	}
	return c, nil
}

// startRole runs this program again in another role.
func (h *host) startRole(ctx context.Context, role string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := h.start(ctx, self, append([]string{"-role", role}, args...)...)
	if err != nil {
		return nil, err
	}
	if line, err := c.stdout.ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		c.stop()
		return nil, fmt.Errorf("%s did not get ready: %s", role, c.stderr.b)
	}
	return c, nil
}

// stop ends the child by closing its standard input, or by force.
func (c *child) stop() {
	_ = c.stdin.Close()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	killer := time.AfterFunc(3*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer killer.Stop()
	_ = c.cmd.Wait()
}

// kill ends the child at once.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// role is what a child of this program does.
func role(ctx context.Context, name string, args []string) error {
	roles := map[string]func(context.Context, []string, func()) error{
		"repair-raw":         repairRaw,
		"repair-vishvananda": repairVishvananda,
		"repair-ours":        repairOurs,
		"push-floor":         pushFloor,
	}
	run, ok := roles[name]
	if !ok {
		return fmt.Errorf("unknown role %q", name)
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, args, func() { fmt.Println("ready") }) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}
