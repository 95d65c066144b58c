// Command hybridctl is the operator's command line for hybrid-plane. This file
// owns its root command and exit codes; each subcommand has a file of its own.
//
// Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 plane unreachable, 4
// an operation goes on that was not waited for.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitGoesOn      = 4

	defaultTimeout = 10 * time.Second
)

// usageError is what the caller can mend by calling otherwise.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// unreachableError is a plane that did not answer.
type unreachableError struct{ err error }

func (e unreachableError) Error() string { return e.err.Error() }
func (e unreachableError) Unwrap() error { return e.err }

// goesOnError is an operation whose end was not waited for.
type goesOnError struct{ err error }

func (e goesOnError) Error() string { return e.err.Error() }
func (e goesOnError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errOut, "hybridctl:", err)
	var usage usageError
	var unreachable unreachableError
	var goesOn goesOnError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &unreachable):
		return exitUnreachable
	case errors.As(err, &goesOn):
		return exitGoesOn
	default:
		return exitFailed
	}
}

// globals are the flags of every command.
type globals struct {
	context string
	timeout time.Duration
}

func newRoot() *cobra.Command {
	g := &globals{}
	root := &cobra.Command{
		Use:   "hybridctl",
		Short: "Operate a hybrid-plane: clusters, profiles, node pools, hosts, tokens",
		Long: `Operate a hybrid-plane: clusters, profiles, node pools, hosts, tokens.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 plane unreachable, 4
an operation goes on that was not waited for.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usage(cobra.NoArgs),
		RunE:          needSubcommand,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
	})
	root.PersistentFlags().StringVar(&g.context, "context", "", "context file (default $HYBRIDCTL_CONTEXT, else ~/.config/hybridctl/context.yaml)")
	root.PersistentFlags().DurationVar(&g.timeout, "timeout", defaultTimeout, "how long to wait for the plane")
	root.AddCommand(newApply(g), newGet(g), newDescribe(g), newDelete(g), newToken(g), newProvision(g), newRepave(g), newOperation(g), newHost(g), newCA(g), newVersion())
	return root
}

func needSubcommand(cmd *cobra.Command, _ []string) error {
	return usageError{fmt.Errorf("a command is missing; see '%s --help'", cmd.CommandPath())}
}

// usage marks the errors of an argument check as wrong usage.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
		}
		return nil
	}
}

// contextPath is the file that --context, the environment or habit names.
func (g *globals) contextPath() (string, error) {
	if g.context != "" {
		return g.context, nil
	}
	if path := os.Getenv("HYBRIDCTL_CONTEXT"); path != "" {
		return path, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usageError{fmt.Errorf("cannot find the context file: %w; name it with --context", err)}
	}
	return filepath.Join(dir, "hybridctl", "context.yaml"), nil
}
