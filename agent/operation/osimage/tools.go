package osimage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/rootfile"
	"hybridagent/agent/operation/runner"
)

// keptLines is how much of a tool's output is kept, in lines.
const keptLines = 2000

// shownLines is how much of it an error repeats, in lines.
const shownLines = 3

// Tools runs the host's programs.
type Tools struct {
	// Runner runs them.
	Runner runner.Runner
	// ID of the try of a step; further runs of the same try append to it.
	ID string
	// OperationID that they run for.
	OperationID string
	// Environment is all that they get.
	Environment []string
	// Line takes each line of output; nil: nobody looks.
	Line func(string)
}

// ToolError is a program that failed.
type ToolError struct {
	// Program with its arguments.
	Program string
	// Result is how it ended.
	Result runner.Result
	// Lines are the last of its output.
	Lines []string
}

// Error says what failed, and what to do about what is known.
func (t *ToolError) Error() string {
	how := fmt.Sprintf("exit code %d", t.Result.Code)
	switch {
	case t.Result.Deadline:
		how = "it did not end in time and was killed with all its children"
	case t.Result.Signal != "":
		how = "killed by " + t.Result.Signal
	}
	return fmt.Sprintf("%s failed (%s): %s%s", t.Program, how, strings.Join(t.Lines, " | "), t.advice())
}

// advice names the next action for failures that are known by their words.
func (t *ToolError) advice() string {
	text := strings.ToLower(strings.Join(t.Lines, "\n"))
	for _, known := range []struct{ words, action string }{
		{"no space left", "; free space where images lie, or give the partition more"},
		// bootc, crates/lib/src/deploy.rs, check_disk_space_inner.
		{"insufficient free space", "; free space where images lie, or give the partition more"},
		{"unauthorized", "; give the host credentials for the registry (bootc: /etc/ostree/auth.json, kairos: /root/.docker/config.json)"},
		{"denied", "; give the host credentials for the registry (bootc: /etc/ostree/auth.json, kairos: /root/.docker/config.json)"},
		{"manifest unknown", "; the registry has lost the image: push it again"},
		{"no such host", "; check the host's name servers and the registry's name"},
		{"connection refused", "; check that the host reaches the registry"},
		{"i/o timeout", "; check that the host reaches the registry"},
	} {
		if strings.Contains(text, known.words) {
			return known.action
		}
	}
	return ""
}

// full reports whether the disk was the cause, which another try meets again.
func (t *ToolError) full() bool {
	text := strings.ToLower(strings.Join(t.Lines, "\n"))
	return strings.Contains(text, "no space left") || strings.Contains(text, "insufficient free space")
}

// run runs a program to its end and returns its output. suffix tells several runs
// of one try apart; empty: the one that is attached to after a restart.
func (t Tools) run(ctx context.Context, suffix, path string, args ...string) ([]string, error) {
	if err := rootfile.Program(path); err != nil {
		return nil, &engine.Permanent{Err: err}
	}
	var lines []string
	result, err := t.Runner.Run(ctx, runner.Command{
		ID: t.ID + suffix, OperationID: t.OperationID, Path: path, Args: args, Env: t.Environment,
	}, func(line string) {
		if t.Line != nil && suffix == "" {
			t.Line(line)
		}
		if line != "" && len(lines) < keptLines {
			lines = append(lines, line)
		}
	})
	if err != nil && !result.Deadline {
		return lines, err
	}
	if result.Code == 0 && !result.Deadline {
		return lines, nil
	}
	failure := &ToolError{Program: strings.Join(append([]string{path}, args...), " "), Result: result, Lines: lines[max(0, len(lines)-shownLines):]}
	if failure.full() {
		return lines, errors.Join(&engine.Permanent{Err: failure}, err)
	}
	return lines, errors.Join(failure, err)
}

// attached reports whether the try's long run is still there from before a
// restart of this process.
func (t Tools) attached(ctx context.Context) bool {
	active, err := t.Runner.Active(ctx, t.ID)
	return err == nil && active
}
