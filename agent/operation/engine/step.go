package engine

import (
	"context"
	"errors"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Step is one part of an operation. Do may be called again after a crash in the
// middle of it, so it must be idempotent.
type Step struct {
	// Name is shown and journalled; it is unique in its operation.
	Name string
	// Percent is the operation's progress once the step is done.
	Percent uint32
	// Deadline bounds one try; 0: only the operation's deadline does.
	Deadline time.Duration
	// Attempts is how often Do is tried; 0 and 1: once.
	Attempts int
	// Always has the step done again when an operation is resumed, even if it
	// was done before: for steps that are cheap and whose result does not last.
	Always bool
	// Check reports whether there is nothing to do; nil: there always is.
	Check func(ctx context.Context) (bool, error)
	// Do does it. A *Permanent error is not tried again.
	Do func(ctx context.Context, run Run) error
	// Undo takes it back when a later step has failed for good; nil: nothing to
	// take back.
	Undo func(ctx context.Context) error
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

// Planner turns an operation into its steps. Steps run in order.
type Planner func(op *agentv1.Operation) ([]Step, error)

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
