package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Cmd is an exec.Cmd whose program is looked up and started inside a host. Use its Start, Run, Output and CombinedOutput, not those of the
// embedded command. Programs get a small fixed environment, not the caller's.
type Cmd struct {
	*exec.Cmd
	host *Host
	name string
}

// Command prepares a program to be run in the host; ctx ends it. The working folder is /.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...) // the real path is found inside the host
	cmd.Args[0] = name
	cmd.Env = append(baseEnvironment(), siteVariable+"="+h.site.Name)
	cmd.Dir = "/"
	cmd.WaitDelay = 2 * time.Second
	return &Cmd{Cmd: cmd, host: h, name: name}
}

// Start starts the program in the host.
func (c *Cmd) Start() error {
	err := c.host.Do(func() error {
		path, err := lookPath(c.name)
		if err != nil {
			return err
		}
		c.Path = path
		return c.Cmd.Start()
	})
	if err != nil {
		return fmt.Errorf("cannot start %s on %s: %w", c.name, c.host.Name, err)
	}
	return nil
}

// Run starts the program and waits for its end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns what it wrote to standard output; the error holds what it wrote to standard error.
func (c *Cmd) Output() (string, error) {
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %s: %w: %s", c.host.Name, strings.Join(c.Args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// CombinedOutput runs the program and returns all it wrote.
func (c *Cmd) CombinedOutput() (string, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}

// Exec runs a program in the host and returns its standard output.
func (h *Host) Exec(ctx context.Context, name string, args ...string) (string, error) {
	return h.Command(ctx, name, args...).Output()
}

func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, folder := range filepath.SplitList(searchPath) {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %q in %s", name, searchPath)
}

// Process is a program that runs in the background of a host, its output in a log file of the site's folder. It ends with the site.
type Process struct {
	// Name is the program's label in messages and its log file's name.
	Name string
	// Log is the path of the log file.
	Log string
	// Pid is the process number as the machine sees it.
	Pid int

	cmd  *Cmd
	done chan struct{}
	mu   sync.Mutex
	err  error
}

// Start runs cmd in the background with its output appended to the log file label.log of the host.
func (h *Host) Start(label string, cmd *Cmd) (*Process, error) {
	path := filepath.Join(h.Folder, label+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot open the log of %s on %s: %w", label, h.Name, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true // an interrupt typed at the terminal is the demo's business
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Name: h.Name + "/" + label, Log: path, Pid: cmd.Process.Pid, cmd: cmd, done: make(chan struct{})}
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the program ended: nil for exit code 0, or while it runs.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Ended is nil while the program runs; after that, the error says how it ended.
func (p *Process) Ended() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("%s has ended: %w", p.Name, err)
	}
	return fmt.Errorf("%s has ended with exit code 0", p.Name)
}

// Signal sends a signal to the program.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Stop ends the program: by SIGTERM, and by SIGKILL when it has not ended within grace. It returns after the end.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot stop %s: %w", p.Name, err)
	}
	// A stopped (SIGSTOP) process does not see SIGTERM before it goes on.
	_ = p.Signal(unix.SIGCONT)
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
	}
	return p.Kill()
}

// Kill ends the program at once and waits for its end.
func (p *Process) Kill() error {
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot kill %s: %w", p.Name, err)
	}
	<-p.done
	return nil
}

// Tail returns the last n lines of the program's log.
func (p *Process) Tail(n int) string {
	data, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
