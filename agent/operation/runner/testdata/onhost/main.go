// Command onhost runs a shell script with the systemd runner on a test host:
// onhost DIR ID DEADLINE SCRIPT. It prints the result and each line. Before the
// script it leaves another run behind, which the script's must end first.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"hybridagent/agent/operation/runner"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "onhost:", err)
		os.Exit(1)
	}
}

func run(dir, id, deadline, script string) error {
	limit, err := time.ParseDuration(deadline)
	if err != nil {
		return err
	}
	systemd, err := runner.NewSystemd(zap.NewNop(), dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	other := id + "-other"
	if err := leave(systemd, other); err != nil {
		return err
	}
	result, err := systemd.Run(ctx, runner.Command{ID: id, OperationID: id, Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"MARK=" + id}},
		func(line string) { fmt.Println("line:", line) })
	fmt.Printf("result: %+v\n", result)
	if active, activeErr := systemd.Active(context.Background(), other); active || activeErr != nil {
		return fmt.Errorf("%s is still there: %w", other, activeErr)
	}
	// Of neither is anything there any more, and that is no error.
	return errors.Join(err, systemd.Stop(context.Background(), id), systemd.Stop(context.Background(), other))
}

// leave starts a run and leaves it, as a process that is killed would.
func leave(systemd *runner.Systemd, id string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := systemd.Run(ctx, runner.Command{ID: id, OperationID: id, Path: "/bin/sh", Args: []string{"-c", "echo on; exec sleep 71009"}},
		func(string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s was not left: %w", id, err)
	}
	active, err := systemd.Active(context.Background(), id)
	if !active || err != nil {
		return fmt.Errorf("%s is not there: %w", id, err)
	}
	return nil
}
