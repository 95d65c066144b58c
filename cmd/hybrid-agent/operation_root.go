package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hybridagent/agent/operation"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// defaultOpSocket is the door to root. These commands use it themselves: the daemon
// may not ask for what they ask for.
const defaultOpSocket = "/run/hybrid-agent-op/op.sock"

// rootFlags are those of every command that acts as root.
type rootFlags struct {
	opSocket string
	yes      bool
	force    bool
}

func (f *rootFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.opSocket, "socket", defaultOpSocket, "`PATH` to ask at")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
}

func newOperationAbort() *cobra.Command {
	var f rootFlags
	cmd := &cobra.Command{
		Use:   "abort [ID]",
		Short: "End the operation that runs, and take back what it changed",
		Long: `End the operation that runs, or the one named, and take back what it has
changed: a node that was cordoned is uncordoned, a version that was replaced
returns. It waits for that. Past its point of return an operation is not ended.

Root only, and where operations run through systemd; "hybridctl" does it from
afar.

Exit codes: 0 it was aborted, 1 there is none, it ended before, or it cannot be
aborted, 2 wrong usage, 3 hybrid-agent-op cannot be reached or refuses.`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			return abortOperation(cmd, f, idOf(args))
		},
	}
	f.add(cmd)
	return cmd
}

// abortOperation shows what would be taken back, asks, and follows the operation to
// its end.
func abortOperation(cmd *cobra.Command, f rootFlags, id string) error {
	door := operation.NewClient(f.opSocket)
	now, err := glance(cmd.Context(), door, id)
	if err != nil {
		return doorError(f.opSocket, err)
	}
	if operation.Ended(now.GetState()) {
		return &exitError{exitUnhealthy, fmt.Errorf("cannot abort operation %s: it has ended (%s)", now.GetOperationId(), operation.StateName(now.GetState()))}
	}
	if err := confirm(cmd, f.yes, abortText(now), "End it?"); err != nil {
		return err
	}
	if id, err = door.Abort(cmd.Context(), now.GetOperationId()); err != nil {
		return doorError(f.opSocket, err)
	}
	shown := newTicker(cmd.OutOrStdout())
	end, err := followToEnd(cmd.Context(), door, id, shown.show)
	if err != nil {
		shown.finish()
		return doorError(f.opSocket, err)
	}
	if _ = shown.end(end); end.GetState() != agentv1.OperationState_OPERATION_STATE_ABORTED {
		return &exitError{exitUnhealthy, fmt.Errorf("operation %s was not aborted: it had %s before", id, operation.StateName(end.GetState()))}
	}
	return nil
}

// glance reads where an operation stands.
func glance(ctx context.Context, door *operation.Client, id string) (*agentv1.OperationProgress, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var first *agentv1.OperationProgress
	_, err := door.Follow(ctx, id, func(p *agentv1.OperationProgress) {
		if first == nil {
			first = p
		}
		cancel()
	})
	if first != nil {
		return first, nil
	}
	return nil, err
}

// abortText says what an abort takes back.
func abortText(p *agentv1.OperationProgress) string {
	text := fmt.Sprintf("%s %s is at %s, %d %%.", operation.KindName(p.GetKind()), p.GetOperationId(), or(p.GetStep(), "its beginning"), p.GetPercent())
	if !p.GetAbortable() {
		return text + " It is past its point of return or about to end: an abort will be refused."
	}
	var begun []string
	for i, step := range p.GetForecast().GetSteps() {
		if stepState(p, i) != "-" {
			begun = append(begun, step.GetName())
		}
	}
	if len(begun) == 0 {
		return text + " What it has changed so far will be taken back."
	}
	return text + " What these steps have changed will be taken back, the last first: " + strings.Join(begun, ", ") + "."
}

func newOperationRepair() *cobra.Command {
	f := rootFlags{}
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Bring the node once more to what is in force",
		Long: `Bring the node once more to what is in force: a repave to the version and
configuration that were applied last, with cordon and drain. It needs no plane.

Root only, and where operations run through systemd.

` + localExits,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLocal(cmd, f, agentv1.OperationKind_OPERATION_KIND_REPAVE,
				"The node will be drained, and nodeadm run once more with what is in force.", "Repair it?")
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "begin although the Kubernetes API does not answer")
	return cmd
}

func newOperationLeave() *cobra.Command {
	f := rootFlags{}
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Take this host out of its cluster",
		Long: `Take this host out of its cluster: drain the node, take kubelet, containerd and
nodeadm's files off the host, so that it can join another one. While the plane
has the host in a pool, it will provision it again: "hybridctl" removes it from
there.

Root only, and where operations run through systemd.

` + localExits,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLocal(cmd, f, agentv1.OperationKind_OPERATION_KIND_LEAVE, leaveText(cmd.Context(), f.opSocket), "Leave the cluster?")
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "begin although the Kubernetes API does not answer")
	return cmd
}

// localExits are the exit codes of operations that root has run.
const localExits = `Exit codes: 0 it succeeded, 1 it failed or was refused, 2 wrong usage,
3 hybrid-agent-op cannot be reached or refuses the caller, 4 it was aborted.`

// leaveText is what a leave will do, with the forecast where there is one.
func leaveText(ctx context.Context, opSocket string) string {
	text := "The node will be drained and taken out of its cluster."
	forecast, err := operation.NewClient(opSocket).Forecast(ctx, &agentv1.ForecastRequest{Kind: agentv1.OperationKind_OPERATION_KIND_LEAVE})
	if err != nil {
		return text
	}
	for _, step := range forecast.GetSteps() {
		text += fmt.Sprintf("\n- %s: %s", step.GetName(), step.GetWhat())
	}
	if forecast.GetDuration() != nil {
		text += "\nIt takes about " + age(forecast.GetDuration().AsDuration()) + "."
	}
	return text
}

// runLocal has an operation run without a signature and follows it to its end.
func runLocal(cmd *cobra.Command, f rootFlags, kind agentv1.OperationKind, text, question string) error {
	if err := confirm(cmd, f.yes, text, question); err != nil {
		return err
	}
	door := operation.NewClient(f.opSocket)
	shown := newTicker(cmd.OutOrStdout())
	id := ""
	seen := func(p *agentv1.OperationProgress) {
		id = p.GetOperationId()
		shown.show(p)
	}
	end, err := door.SubmitLocal(cmd.Context(), kind, f.force, seen)
	if id != "" && errors.Is(err, operation.ErrInterrupted) {
		end, err = followToEnd(cmd.Context(), door, id, seen)
	}
	if err != nil {
		shown.finish()
		return doorError(f.opSocket, err)
	}
	return shown.end(end)
}

// followToEnd follows an operation through restarts of hybrid-agent-op.
func followToEnd(ctx context.Context, door *operation.Client, id string, seen func(*agentv1.OperationProgress)) (*agentv1.OperationProgress, error) {
	heard := time.Now()
	for {
		end, err := door.Follow(ctx, id, func(p *agentv1.OperationProgress) {
			heard = time.Now()
			seen(p)
		})
		if !errors.Is(err, operation.ErrInterrupted) || time.Since(heard) > watchPatience {
			return end, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(watchRetry):
		}
	}
}

// doorError says why root did not do it. A refusal of the caller has the exit code
// 3, any other refusal 1.
func doorError(opSocket string, err error) error {
	var refusal *operation.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Reason != agentv1.DoorRefusalReason_DOOR_REFUSAL_REASON_FORBIDDEN:
		return &exitError{exitUnhealthy, fmt.Errorf("refused: %s", refusal.Message)}
	case errors.As(err, &refusal):
		return &exitError{exitUnreachable, err}
	case errors.Is(err, fs.ErrPermission):
		return &exitError{exitUnreachable, fmt.Errorf("only root may use %s: call it with sudo", opSocket)}
	default:
		return &exitError{exitUnreachable, err}
	}
}
