package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/manifest"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	// pollEvery is how often the plane is asked how far something is.
	pollEvery = 300 * time.Millisecond
	// sayEvery is how often it is said that nothing has changed.
	sayEvery = 5 * time.Second
)

// errPlaneAway says that the plane did not answer any more.
var errPlaneAway = errors.New("the plane does not answer")

// poll asks until what is waited for has ended or the context has. A plane that does
// not answer may be restarting: it is asked again.
func poll(ctx context.Context, p *progress, ask func() (ended bool, err error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ended, err := ask()
		switch {
		case err == nil:
			if ended {
				return nil
			}
		case status.Code(err) == codes.Unavailable:
			p.away()
		case ctx.Err() == nil && status.Code(err) != codes.DeadlineExceeded:
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if status.Code(err) == codes.Unavailable {
				return errPlaneAway
			}
			return ctx.Err()
		}
	}
}

// waitError says that the end of something was not seen, and where it will be.
func waitError(err error, what, where string, timeout time.Duration) error {
	st, isStatus := status.FromError(err)
	switch {
	case errors.Is(err, errPlaneAway):
		return unreachableError{fmt.Errorf("%s goes on, but %w; %s", what, err, where)}
	case errors.Is(err, context.DeadlineExceeded):
		return goesOnError{fmt.Errorf("%s has not ended within %s and goes on; %s", what, timeout, where)}
	case errors.Is(err, context.Canceled), isStatus && st.Code() == codes.Canceled:
		return goesOnError{fmt.Errorf("%s goes on; %s", what, where)}
	case isStatus && st.Code() == codes.NotFound, !isStatus:
		return err
	default:
		return goesOnError{fmt.Errorf("%s goes on; %s", what, where)}
	}
}

// progress writes what is new, and now and then that nothing is.
type progress struct {
	w      io.Writer
	now    func() time.Time
	began  time.Time
	spoken time.Time
	last   string
}

func newProgress(w io.Writer, now func() time.Time) *progress {
	return &progress{w: w, now: now, began: now()}
}

func (p *progress) say(text string) {
	p.last, p.spoken = text, p.now()
	paragraph(p.w, text)
}

func (p *progress) show(st *planev1.OperationStatus) { p.update(progressLine(st)) }

func (p *progress) away() { p.update("the plane does not answer; asking again") }

func (p *progress) update(text string) {
	now := p.now()
	if text == p.last && now.Sub(p.spoken) < sayEvery {
		return
	}
	p.last, p.spoken = text, now
	hanging(p.w, fmt.Sprintf("%3.0fs  ", now.Sub(p.began).Seconds()), text)
}

// progressLine is state, step and percent, and what the host or the plane says.
func progressLine(st *planev1.OperationStatus) string {
	p := st.GetProgress()
	line := strings.ToLower(manifest.EnumWord(p.GetState().Descriptor(), p.GetState().Number()))
	if p.GetStep() != "" {
		line += fmt.Sprintf(" %s %d%%", p.GetStep(), p.GetPercent())
	}
	for _, words := range []string{p.GetMessage(), st.GetRemark()} {
		if words != "" {
			line += ": " + words
		}
	}
	return line
}
