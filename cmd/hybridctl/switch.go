package main

import (
	"context"
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
	return waitError(err, "operation "+w.operation, where, s.timeout)
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
	var last *planev1.OperationStatus
	err := poll(ctx, w.progress, func() (bool, error) {
		st, err := w.ask(ctx)
		if err != nil {
			return false, err
		}
		last = st
		w.progress.show(st)
		return ended(st), nil
	})
	return last, err
}

func (w *waiting) ask(ctx context.Context) (*planev1.OperationStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, w.each)
	defer cancel()
	resp, err := w.call.GetOperation(ctx, &planev1.GetOperationRequest{HostId: w.host, OperationId: w.operation})
	return resp.GetOperation(), err
}

func ended(st *planev1.OperationStatus) bool {
	switch st.GetProgress().GetState() {
	case agentv1.OperationState_OPERATION_STATE_SUCCEEDED, agentv1.OperationState_OPERATION_STATE_FAILED,
		agentv1.OperationState_OPERATION_STATE_REFUSED, agentv1.OperationState_OPERATION_STATE_ABORTED:
		return true
	default:
		return false
	}
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
