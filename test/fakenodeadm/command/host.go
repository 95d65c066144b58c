// Package command is the stand-in's nodeadm: install, config check, init, upgrade and uninstall with the behaviours of nodeadm
// v1.0.20, bad ones included (silent success without a tracker, files written in place, odd modes, no lock, no signal handling).
// It owns messages, calls, files and their order; unit control and the machine are behind small seams. What it does not do
// it refuses by name.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hybridagent/test/fakenodeadm/lab"
)

// Version is what --version prints: that of the real program whose behaviour this copies, labelled.
const Version = "v1.0.20-standin"

// Host is the machine that a command works on.
type Host struct {
	// Root is put before every path; "" is the machine itself. Tests use a scratch folder.
	Root           string
	Stdout, Stderr io.Writer
	// Env is the environment as os.Environ gives it.
	Env      []string
	Settings lab.Settings
	Units    Units
	// HasSystemd tells whether systemd's D-Bus can be reached; without it config check and init fail.
	HasSystemd func() bool
	// DefaultIP is the address of the default route's interface; LookupIP resolves the node name.
	DefaultIP func() (net.IP, error)
	LookupIP  func(name string) ([]net.IP, error)
	// Kill ends the program as SIGKILL does, for the fault of that name; nil ends the run with exit code 137.
	Kill func()
}

// path returns where the file of the host really is.
func (h *Host) path(p string) string { return filepath.Join(h.Root, p) }

func (h *Host) getenv(name string) string {
	value := ""
	for _, kv := range h.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

func (h *Host) exists(p string) bool {
	_, err := os.Stat(h.path(p))
	return err == nil
}

// put writes the file in place without any care for a crash, as the real program does, below folders of the given mode.
func (h *Host) put(p, content string, mode, dirMode os.FileMode) error {
	if err := os.MkdirAll(h.path(filepath.Dir(p)), dirMode); err != nil {
		return err
	}
	return os.WriteFile(h.path(p), []byte(content), mode)
}

// sleep waits in lab time; false means that ctx ended first.
func (h *Host) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(h.Settings.Scale(d)):
		return true
	case <-ctx.Done():
		return false
	}
}

// Errors that end a command in a way of their own; every other error is logged as fatal with exit code 1.
var (
	errDone  = errors.New("done")  // exit 0, nothing more to say
	errPanic = errors.New("panic") // exit 2, with Go's text
	errKill  = errors.New("kill")  // exit 137, nothing more to say
)

// usageError ends with exit code 2 after the help text and its message.
type usageError struct {
	help, message string
}

func (e usageError) Error() string { return e.message }

// run is one command on one host.
type run struct {
	*Host
	log     *logger
	command string
	// version is the Kubernetes version that the command line names.
	version string
	// dying: the lab asked for a kill in the phase under way.
	dying bool
}

// Run executes nodeadm with args (without argv[0]) and returns its exit code. Cancelling ctx stands for SIGKILL: the command
// stops where it is.
func (h *Host) Run(ctx context.Context, args []string) int {
	r := &run{Host: h, log: &logger{w: h.Stderr}}
	err := r.dispatch(ctx, args)
	if r.dying && err == nil {
		err = r.die()
	}
	var usage usageError
	switch {
	case ctx.Err() != nil, errors.Is(err, errKill):
		return 137
	case err == nil, errors.Is(err, errDone):
		return 0
	case errors.As(err, &usage):
		if usage.help != "" {
			io.WriteString(h.Stderr, usage.help+"\n")
		}
		fmt.Fprintln(h.Stderr, usage.message)
		return 2
	case errors.Is(err, errPanic):
		io.WriteString(h.Stderr, panicText)
		return 2
	}
	r.log.fatal(err)
	return 1
}

const panicText = `panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x0]

goroutine 1 [running]:
main.main()
	stand-in/nodeadm.go:1
`
