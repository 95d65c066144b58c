package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/manifest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	// pollEvery is how often the plane is asked how far a live switch is.
	pollEvery = 300 * time.Millisecond
	// sayEvery is how often it is said that nothing has changed.
	sayEvery = 5 * time.Second
)

// switchLive has the host switch, and waits for the end.
func (s *setVPN) switchLive(cmd *cobra.Command, g *globals) error {
	return g.callFor(cmd.Context(), s.timeout, func(ctx context.Context, c planev1.PlaneServiceClient) error {
		first, cancel := context.WithTimeout(ctx, g.timeout)
		defer cancel()
		resp, err := c.SwitchNetwork(first, &planev1.SwitchNetworkRequest{HostId: s.host, VpnServers: s.servers})
		if err != nil {
			return s.explain(err)
		}
		p := newProgress(cmd.ErrOrStderr(), time.Now)
		p.say(fmt.Sprintf("operation %s: host %s is to try %s", resp.GetOperationId(), s.host, strings.Join(s.servers, ", ")))
		w := &waiting{call: c, host: s.host, operation: resp.GetOperationId(), each: g.timeout, progress: p}
		last, err := w.wait(ctx)
		if err != nil {
			return s.goesOn(cmd, w, last, err)
		}
		return s.writeEnd(cmd, last)
	})
}

// explain adds what to do where the answer was lost on its way.
func (s *setVPN) explain(err error) error {
	shown := fmt.Sprintf("whether the operation was signed is shown by 'hybridctl describe host %s'", s.host)
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return unreachableError{fmt.Errorf("the plane's answer did not come: %s; %s", status.Convert(err).Message(), shown)}
	case codes.Canceled:
		return goesOnError{fmt.Errorf("interrupted before the plane had answered; %s", shown)}
	default:
		return err
	}
}

// goesOn says that the end was not seen, and where it will be.
func (s *setVPN) goesOn(cmd *cobra.Command, w *waiting, last *planev1.OperationStatus, err error) error {
	if s.format == outputJSON && last != nil {
		if err := s.writeOperation(cmd, last); err != nil {
			return err
		}
	}
	where := fmt.Sprintf("'hybridctl describe host %s' shows how it ends", s.host)
	switch {
	case errors.Is(err, errPlaneAway):
		return unreachableError{fmt.Errorf("operation %s goes on, but %w; %s", w.operation, err, where)}
	case status.Code(err) == codes.NotFound:
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return goesOnError{fmt.Errorf("operation %s has not ended within %s and goes on; %s", w.operation, s.timeout, where)}
	default:
		return goesOnError{fmt.Errorf("operation %s goes on; %s", w.operation, where)}
	}
}

// writeEnd writes how the switch ended; an error is an end that is none.
func (s *setVPN) writeEnd(cmd *cobra.Command, st *planev1.OperationStatus) error {
	if s.format == outputJSON {
		if err := s.writeOperation(cmd, st); err != nil {
			return err
		}
	}
	p := st.GetProgress()
	switch p.GetState() {
	case agentv1.OperationState_OPERATION_STATE_SUCCEEDED:
		if s.format != outputJSON {
			paragraph(cmd.OutOrStdout(), fmt.Sprintf("host %s has VPN servers %s", s.host, strings.Join(st.GetVpnServers(), ", ")))
			paragraph(cmd.OutOrStdout(), st.GetRemark())
		}
		return nil
	case agentv1.OperationState_OPERATION_STATE_REFUSED:
		return fmt.Errorf("host %s refused the switch and keeps its network: %s", s.host, orDash(p.GetMessage()))
	default:
		return fmt.Errorf("host %s did not switch, and NodePool and host keep what they had: %s", s.host, orDash(p.GetMessage()))
	}
}

func (s *setVPN) writeOperation(cmd *cobra.Command, st *planev1.OperationStatus) error {
	return writeJSON(cmd, map[string]any{"host": s.host, "live": true, "vpnServers": s.servers, "operation": manifest.Message(st)})
}

// errPlaneAway says that the plane did not answer any more.
var errPlaneAway = errors.New("the plane does not answer")

// waiting is a wait for the end of an operation.
type waiting struct {
	call      planev1.PlaneServiceClient
	host      string
	operation string
	each      time.Duration // most for one call
	progress  *progress
}

// wait asks until the operation has ended or the context has. A plane that does
// not answer may be restarting: it is asked again. The status is the last one
// known; nil: none.
func (w *waiting) wait(ctx context.Context) (*planev1.OperationStatus, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last *planev1.OperationStatus
	for {
		st, err := w.ask(ctx)
		switch {
		case err == nil:
			last = st
			w.progress.show(st)
			if ended(st) {
				return st, nil
			}
		case status.Code(err) == codes.Unavailable:
			w.progress.away()
		case ctx.Err() == nil && status.Code(err) != codes.DeadlineExceeded:
			return last, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if status.Code(err) == codes.Unavailable {
				return last, errPlaneAway
			}
			return last, ctx.Err()
		}
	}
}

func (w *waiting) ask(ctx context.Context) (*planev1.OperationStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, w.each)
	defer cancel()
	resp, err := w.call.GetOperation(ctx, &planev1.GetOperationRequest{HostId: w.host, OperationId: w.operation})
	return resp.GetOperation(), err
}

func ended(st *planev1.OperationStatus) bool {
	switch st.GetProgress().GetState() {
	case agentv1.OperationState_OPERATION_STATE_SUCCEEDED, agentv1.OperationState_OPERATION_STATE_FAILED, agentv1.OperationState_OPERATION_STATE_REFUSED:
		return true
	default:
		return false
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

// paragraph writes a text for people; lines after the first are indented.
func paragraph(w io.Writer, text string) {
	for i, line := range wrap(text, screen-gap) {
		fmt.Fprintf(w, "%*s%s\n", gap*min(i, 1), "", line)
	}
}

// hanging writes a text beside a mark; lines after the first are indented by its
// width.
func hanging(w io.Writer, mark, text string) {
	for _, line := range wrap(text, screen-len(mark)) {
		fmt.Fprintf(w, "%s%s\n", mark, line)
		mark = strings.Repeat(" ", len(mark))
	}
}
