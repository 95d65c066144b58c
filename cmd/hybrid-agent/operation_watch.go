package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// watchPatience is how long the daemon may be away while an operation is watched: it
// is restarted when the package is upgraded. watchRetry is the time between tries.
const (
	watchPatience = 2 * time.Minute
	watchRetry    = time.Second
)

func newOperationWatch() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:   "watch [ID]",
		Short: "Watch an operation to its end",
		Long: `Watch the operation that runs or ran last, or the one named, to its end: on a
terminal one line that changes, else a line for each change. It goes on while
the daemon is restarted.

Exit codes: 0 it succeeded, 1 it failed, was refused, or there is none, 2 wrong
usage, 3 the daemon cannot be reached, 4 it was aborted.`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			shown := newTicker(cmd.OutOrStdout())
			end, err := watchToEnd(cmd.Context(), socket, idOf(args), shown.show)
			if err != nil {
				shown.finish()
				return err
			}
			return shown.end(end)
		},
	}
	cmd.Flags().StringVar(&socket, "socket", defaultSocket, "`PATH` to ask at")
	return cmd
}

// watchToEnd watches an operation through restarts of the daemon.
func watchToEnd(ctx context.Context, socket, id string, seen func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	var last *agentv1.OperationProgress
	heard := time.Now()
	for {
		err := watchOnce(ctx, socket, id, func(progress *agentv1.OperationProgress) error {
			last, heard, id = progress, time.Now(), progress.GetOperationId()
			seen(progress)
			return nil
		})
		var exit *exitError
		switch {
		case operation.Ended(last.GetState()):
			return last, nil
		case last == nil && err != nil, time.Since(heard) > watchPatience:
			return nil, err
		case errors.As(err, &exit) && exit.code != exitUnreachable:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, &exitError{exitUnreachable, errors.New("watching was ended; the operation goes on")}
		case <-time.After(watchRetry):
		}
	}
}

// ticker shows progress as it comes.
type ticker struct {
	w        io.Writer
	terminal bool
	last     string
}

func newTicker(w io.Writer) *ticker {
	file, ok := w.(*os.File)
	return &ticker{w: w, terminal: ok && term.IsTerminal(int(file.Fd()))}
}

// show prints a snapshot where it says something new.
func (t *ticker) show(p *agentv1.OperationProgress) {
	line := progressLine(p, time.Now())
	if t.terminal {
		// Over the former line, which may have been longer.
		_, _ = fmt.Fprintf(t.w, "\r%-*s", width-1, cut(line, width-1))
		t.last = line
		return
	}
	if line = progressLine(p, time.Time{}); line != t.last {
		_, _ = fmt.Fprintln(t.w, cut(line, width))
		t.last = line
	}
}

// finish leaves a line that changes.
func (t *ticker) finish() {
	if t.terminal && t.last != "" {
		_, _ = fmt.Fprintln(t.w)
	}
}

// end prints how the operation ended, and returns the exit code for it.
func (t *ticker) end(p *agentv1.OperationProgress) error {
	t.finish()
	if text := p.GetMessage(); text != "" {
		for _, line := range wrap(text, width) {
			_, _ = fmt.Fprintln(t.w, line)
		}
	}
	return resultOf(p)
}

// resultOf turns the end of an operation into an exit code.
func resultOf(p *agentv1.OperationProgress) error {
	switch p.GetState() {
	case agentv1.OperationState_OPERATION_STATE_SUCCEEDED:
		return nil
	case agentv1.OperationState_OPERATION_STATE_ABORTED:
		return &exitError{code: exitAborted}
	default:
		return &exitError{code: exitUnhealthy}
	}
}

// progressLine is a snapshot in one line; a zero now leaves out what changes with
// the clock alone.
func progressLine(p *agentv1.OperationProgress, now time.Time) string {
	kind, state := operation.KindName(p.GetKind()), operation.StateName(p.GetState())
	if operation.Ended(p.GetState()) {
		text := kind + " " + state
		if p.GetState() != agentv1.OperationState_OPERATION_STATE_SUCCEEDED && p.GetStep() != "" {
			text += " at " + p.GetStep()
		}
		return text
	}
	text := fmt.Sprintf("%3d %%  %s", p.GetPercent(), or(p.GetStep(), state))
	if place := placeOf(p); place != "" {
		text += " (" + place + ")"
	}
	if at := p.GetEstimatedEndAt(); at != nil && !now.IsZero() {
		text += ", about " + age(at.AsTime().Sub(now)) + " left"
	}
	if lines := p.GetLogLines(); len(lines) > 0 {
		text += ": " + strings.Join(strings.Fields(lines[len(lines)-1]), " ")
	}
	return text
}

// placeOf is "step 3 of 9", where the steps are known.
func placeOf(p *agentv1.OperationProgress) string {
	steps := p.GetForecast().GetSteps()
	for i, step := range steps {
		if step.GetName() == p.GetStep() {
			return fmt.Sprintf("step %d of %d", i+1, len(steps))
		}
	}
	return ""
}

// cut shortens a text to most characters.
func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
