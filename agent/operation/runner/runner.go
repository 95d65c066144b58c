// Package runner runs programs as root for hybrid-agent-op, with a deadline that
// ends them with all their children: as transient systemd units, or where there
// is no systemd as a process group of its own. It does not know what the
// programs are for.
package runner

import (
	"context"
	"fmt"
	"strings"
)

// Command is one run of a program.
type Command struct {
	// ID names the run: letters, digits and dashes. A run that is under way when
	// hybrid-agent-op dies is found again by it.
	ID string
	// OperationID is put into the journal's field HYBRID_OPERATION_ID.
	OperationID string
	// Path is the program's absolute path.
	Path string
	// Args are the arguments without the program's name.
	Args []string
	// Env is the whole environment, NAME=value.
	Env []string
}

// Result is how a run ended.
type Result struct {
	// Code is the exit code; -1 when a signal ended the run.
	Code int
	// Signal names the signal that ended the run, or is empty.
	Signal string
	// Deadline is set when the run was killed because its time was over.
	Deadline bool
}

// Runner is one way to run programs.
type Runner interface {
	// Name is systemd or direct, as status shows it.
	Name() string
	// Run starts the program, or attaches to the run with the same ID that is
	// still there, and returns when it has ended. Runs with other IDs that are not
	// known to have ended are stopped first: two never run at once. onLine gets each line of its
	// output, standard output and error alike. When the context's deadline passes,
	// the program is killed with all its children, which is no error but
	// Result.Deadline. When the context is cancelled, the context's error is
	// returned; the run may go on, to be found by the next Run with this ID.
	Run(ctx context.Context, command Command, onLine func(string)) (Result, error)
	// Stop ends the run with this ID and its parts, whose IDs begin with it and a
	// dash, and everything that is left of them; nil when nothing of it runs any
	// more.
	Stop(ctx context.Context, id string) error
	// Active reports whether a run with this ID is there to attach to.
	Active(ctx context.Context, id string) (bool, error)
}

// stopWhole stops the parts of a run that have output below dir, then the run.
func stopWhole(ctx context.Context, dir, id string, stop func(context.Context, string) error) error {
	ids, err := unfinished(dir)
	if err != nil {
		return err
	}
	for _, part := range ids {
		if !strings.HasPrefix(part, id+"-") {
			continue
		}
		if err := stop(ctx, part); err != nil {
			return err
		}
	}
	return stop(ctx, id)
}

// stopOthers stops the runs that have output below dir, but for the one with
// this ID: output stays until its run is known to have ended.
func stopOthers(ctx context.Context, dir, id string, stop func(context.Context, string) error) error {
	others, err := unfinished(dir)
	if err != nil {
		return err
	}
	for _, other := range others {
		if other == id {
			continue
		}
		if err := stop(ctx, other); err != nil {
			return fmt.Errorf("cannot run %s while %s may still run: %w", id, other, err)
		}
	}
	return nil
}
