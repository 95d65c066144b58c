// Command hybrid-plane is the management plane. This file owns its root command
// and exit codes; each subcommand has a file of its own.
//
// Exit codes: 0 ended as asked, 1 failed, 2 wrong usage.
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

const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is what the caller can mend by calling otherwise.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errOut, "hybrid-plane:", err)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(errOut, "Run 'hybrid-plane --help' for the commands, 'hybrid-plane COMMAND --help' for the flags.")
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "hybrid-plane",
		Short:         "Management plane for EKS hybrid nodes",
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			return asUsage(cobra.NoArgs(cmd, args))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{errors.New("no command given; 'hybrid-plane serve' runs the plane")}
		},
	}
	root.SetVersionTemplate("hybrid-plane {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newContext())
	return root
}

func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}
