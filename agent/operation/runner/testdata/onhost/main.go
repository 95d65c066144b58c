// Command onhost runs a shell script with the systemd runner on a test host:
// onhost DIR ID DEADLINE SCRIPT. It prints the result and each line.
package main

import (
	"context"
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
	result, err := systemd.Run(ctx, runner.Command{ID: id, OperationID: id, Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"MARK=" + id}},
		func(line string) { fmt.Println("line:", line) })
	fmt.Printf("result: %+v\n", result)
	return err
}
