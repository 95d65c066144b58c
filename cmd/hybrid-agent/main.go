// Command hybrid-agent is the daemon on a host, and the local command line that
// asks it. It owns flags, output and exit codes; everything else is package
// agent's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is stamped by the linker (-X main.version=…).
var version = "v0.0.0-dev"

// Exit codes, as the help says.
const (
	exitUnhealthy   = 1
	exitUsage       = 2
	exitUnreachable = 3
)

// exitError carries the exit code of an error.
type exitError struct {
	code int
	err  error // nil: everything was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error { return &exitError{exitUsage, err} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if exit.err != nil {
			_, _ = fmt.Fprintf(stderr, "hybrid-agent: %v\n", exit.err)
		}
		return exit.code
	}
	// What is left are cobra's own errors: unknown commands and flags.
	_, _ = fmt.Fprintf(stderr, "hybrid-agent: %v\n", err)
	return exitUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "hybrid-agent",
		Short:         "Turns this host into an Amazon EKS hybrid node and keeps it one",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newRun(), newStatus(), newNICs(), newPath(), newNetwork(), newOperation(), newHostSetup(), newConfig(), newVersion())
	return root
}
