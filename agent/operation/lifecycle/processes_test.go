package lifecycle

import (
	"bufio"
	"context"
	"errors"
	"os/exec"
	"syscall"

	"hybridagent/agent/operation/runner"
)

// processes runs programs as a process group each. The direct runner counts every
// child of this process as its own, which hosts that live side by side in one test
// are not.
type processes struct{}

func (processes) Name() string { return "processes" }

func (processes) Stop(context.Context, string) error { return nil }

func (processes) Active(context.Context, string) (bool, error) { return false, nil }

// Run ends the whole group with the context, whether its time is over or it was
// cancelled.
func (processes) Run(ctx context.Context, command runner.Command, onLine func(string)) (runner.Result, error) {
	cmd := exec.CommandContext(ctx, command.Path, command.Args...)
	cmd.Env = command.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	output, err := cmd.StderrPipe()
	if err != nil {
		return runner.Result{}, err
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		return runner.Result{}, err
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		onLine(lines.Text())
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return runner.Result{Code: -1, Deadline: true}, nil
	case ctx.Err() != nil:
		return runner.Result{}, ctx.Err()
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		return runner.Result{Code: -1, Signal: "SIGKILL"}, nil
	case errors.As(err, &exit):
		return runner.Result{Code: exit.ExitCode()}, nil
	}
	return runner.Result{}, err
}
