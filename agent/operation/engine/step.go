package engine

import (
	"context"
	"errors"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Planner turns an operation into its plan. kept is nil the first time; later,
// after a crash or a reboot, it is what the first plan kept: the host may look
// different by then, and the operation goes the same path all the same. The
// context ends with the operation's deadline, an abort and the engine.
type Planner func(ctx context.Context, op *agentv1.Operation, kept []byte) (Plan, error)

// Plan is what an operation does.
type Plan struct {
	// Kept is what the planner decided, in a form of its own, at most
	// journal.MaxKept bytes; it is on disk before the first step. It must hold no
	// secret: it outlives the operation.
	Kept []byte
	// Forecast is shown with the progress; nil: none. The engine fills in steps
	// and duration where they are missing.
	Forecast *agentv1.Forecast
	// Steps run in order.
	Steps []Step
	// Conclude words the last message of an operation that failed or was aborted:
	// cause is why (an *Aborted where somebody ended it), undone are the errors of
	// steps that could not be taken back, each naming its step. It may look at the
	// host, for a minute at most. nil: the cause and those errors.
	Conclude func(ctx context.Context, cause error, undone []error) string
}

// Step is one part of an operation. Do may be called again after a crash in the
// middle of it, so it must be idempotent; and so must Undo.
type Step struct {
	// Name is shown and journalled; it is unique in its operation.
	Name string
	// What says what the step does, for people; at most 256 bytes.
	What string
	// Percent is the operation's progress once the step is done.
	Percent uint32
	// Expected is how long it takes where this host has not done it before; 0: not
	// known, or a moment.
	Expected time.Duration
	// Deadline bounds one try; 0: only the operation's deadline does.
	Deadline time.Duration
	// Attempts is how often Do is tried; 0 and 1: once.
	Attempts int
	// Together bounds all tries and the pauses between them; 0: nothing does. It
	// begins anew when the operation is resumed.
	Together time.Duration
	// Always has the step done again when an operation is resumed, even if it
	// was done before: for steps that are cheap and whose result does not last.
	Always bool
	// Final marks the point of return: once the step is done, a later failure takes
	// nothing back, and an abort is refused. An abort while it is under way counts
	// unless the step is done all the same; where the process died before that was
	// on disk, only Check can tell, so a final step should have one.
	Final bool
	// Check reports whether there is nothing to do; nil: there always is.
	Check func(ctx context.Context) (bool, error)
	// Do does it. A *Permanent error is not tried again.
	Do func(ctx context.Context, run Run) error
	// Undo takes the step back, which may be half done, when a later one or itself
	// has failed for good, or when the operation is aborted; nil: nothing to take
	// back. A *Permanent error is not tried again.
	Undo func(ctx context.Context, run Run) error
	// UndoDeadline bounds one try of Undo; 0: a minute. The operation's deadline,
	// which may have passed, does not bound it.
	UndoDeadline time.Duration
	// UndoAttempts is how often Undo is tried; 0 and 1: once.
	UndoAttempts int
}

// Run is what a step is told of the try under way.
type Run struct {
	// ID names the try: the same again when it is resumed after a crash.
	ID string
	// Attempt counts the tries from 1.
	Attempt int
	// Say shows a sentence as the operation's progress.
	Say func(text string)
	// Line adds a line to the last log lines; it must hold no secret.
	Line func(text string)
}

// Permanent is an error that another try would meet again.
type Permanent struct{ Err error }

// Error returns the error's text.
func (p *Permanent) Error() string { return p.Err.Error() }

// Unwrap returns the error.
func (p *Permanent) Unwrap() error { return p.Err }

// IsPermanent reports whether another try is pointless.
func IsPermanent(err error) bool {
	var permanent *Permanent
	return errors.As(err, &permanent)
}

// Aborted is the cause of an operation's end that somebody asked for.
type Aborted struct {
	// By is the ID of the signed abort, or local root.
	By string
}

// Error says who ended the operation.
func (a *Aborted) Error() string { return "aborted by " + a.By }
