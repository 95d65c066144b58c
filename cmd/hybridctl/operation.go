package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hybridagent/plane/manifest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

func newOperation(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "operation",
		Aliases: []string{"op"},
		Short:   "Show, watch, abort or retry the operation of a host",
		Args:    usage(cobra.NoArgs),
		RunE:    needSubcommand,
	}
	cmd.AddCommand(newOperationShow(g), newOperationWatch(g), newOperationAbort(g), newOperationRetry(g))
	return cmd
}

// idOf is the operation named, empty: the one under way, else the last.
func idOf(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

func newOperationShow(g *globals) *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "show HOST [ID]",
		Short: "Show an operation of a host: the one under way, else the last one",
		Args:  usage(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				resp, err := c.GetOperation(ctx, &planev1.GetOperationRequest{HostId: args[0], OperationId: idOf(args)})
				if err != nil {
					return err
				}
				return writeOperation(cmd.OutOrStdout(), o, args[0], resp.GetOperation())
			})
		},
	}
	o.register(cmd)
	return cmd
}

func newOperationWatch(g *globals) *cobra.Command {
	var o output
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "watch HOST [ID]",
		Short: "Follow an operation of a host to its end",
		Long: `Follow an operation of a host to its end: the one under way, else the last one.
Ctrl-C ends the watching, not the operation.

Exit codes: 0 it succeeded, 1 it failed, was refused or aborted, 2 wrong usage, 3
plane unreachable, 4 the operation goes on.`,
		Args: usage(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if timeout <= 0 {
				return usageError{fmt.Errorf("--timeout %s is not longer than nothing", timeout)}
			}
			return g.callFor(cmd.Context(), timeout, func(ctx context.Context, c planev1.PlaneServiceClient) error {
				w := &waiting{call: c, host: args[0], operation: idOf(args), each: g.timeout, progress: newProgress(cmd.ErrOrStderr(), time.Now)}
				return w.watch(ctx, cmd.OutOrStdout(), o, timeout)
			})
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", defaultRepaveTimeout, "how long to wait for the end")
	o.register(cmd)
	return cmd
}

// watch follows one operation, also where none was named and another begins.
func (w *waiting) watch(ctx context.Context, out io.Writer, o output, timeout time.Duration) error {
	if w.operation == "" {
		st, err := w.ask(ctx)
		if err != nil {
			return err
		}
		w.operation = st.GetProgress().GetOperationId()
	}
	last, err := w.wait(ctx)
	if err != nil {
		return waitError(err, "operation "+w.operation, fmt.Sprintf("'hybridctl operation show %s' shows it", w.host), timeout)
	}
	if err := writeOperation(out, o, w.host, last); err != nil {
		return err
	}
	p := last.GetProgress()
	if p.GetState() != agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		return fmt.Errorf("%s %s of host %s: %s: %s", kindOfOperation(p), w.operation, w.host, stateWord(p), orDash(p.GetMessage()))
	}
	return nil
}

func newOperationAbort(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "abort HOST [ID]",
		Short: "End an operation of a host; what it has changed is taken back",
		Long: `End the operation of a host that is under way. One that was not sent is withdrawn.
One that runs takes back what it has changed, as far as that can be: the node
stays on, or returns to, the version that it had. The repave of the pool stops.`,
		Args: usage(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				resp, err := c.AbortOperation(ctx, &planev1.AbortOperationRequest{HostId: args[0], OperationId: idOf(args)})
				if err != nil {
					return err
				}
				w := cmd.OutOrStdout()
				if resp.GetWithdrawn() {
					fmt.Fprintf(w, "operation %s is withdrawn\n", resp.GetOperationId())
					return nil
				}
				fmt.Fprintf(w, "operation %s will end; see:\n  hybridctl operation watch %s\n", resp.GetOperationId(), args[0])
				return nil
			})
		},
	}
}

func newOperationRetry(g *globals) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "retry HOST",
		Short: "Have the failed provisioning or leave of a host tried again",
		Long: `Have the failed provisioning or leave of a host tried again, once what made it
fail is mended. A failed repave is tried again with 'hybridctl repave POOL'. With
--force a leave begins although the Kubernetes API does not answer the host, for
example because its cluster is gone: pods are not moved away then.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				if _, err := c.Provision(ctx, &planev1.ProvisionRequest{HostId: args[0], Force: force}); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "the operation of EdgeHost %s will be tried again\n", args[0])
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "begin a leave although the Kubernetes API does not answer")
	return cmd
}

func newRetryNetwork(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "retry-network HOST",
		Short: "Have a host try the network once more that it has rolled back",
		Long: `Have a host try the network of its assignment once more. A network that did not
serve is rolled back by the host and not tried again by itself; use this once what
made it fail is mended.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				if _, err := c.RetryNetwork(ctx, &planev1.RetryNetworkRequest{HostId: args[0]}); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "EdgeHost %s tries the network of its assignment again; see:\n  hybridctl describe host %s\n", args[0], args[0])
				return nil
			})
		},
	}
}

// writeOperation shows one operation.
func writeOperation(w io.Writer, o output, host string, st *planev1.OperationStatus) error {
	if o.format != outputTable {
		return o.value(w, map[string]any{"host": host, "operation": manifest.Message(st)})
	}
	out, p := sheet{w}, st.GetProgress()
	out.line("Operation", fmt.Sprintf("%s %s", kindOfOperation(p), p.GetOperationId()))
	out.line("Host", host)
	state := stateWord(p)
	if p.GetStep() != "" {
		state += fmt.Sprintf(" at %s, %d %%", p.GetStep(), p.GetPercent())
	}
	out.line("State", state)
	out.line("Message", p.GetMessage(), st.GetRemark())
	if st.GetSignedAt() != nil {
		out.line("Signed", timeText(st.GetSignedAt().AsTime()))
	}
	if p.GetStartedAt() != nil {
		out.line("Started", timeText(p.GetStartedAt().AsTime()))
	}
	switch {
	case p.GetEndedAt() != nil:
		out.line("Ended", timeText(p.GetEndedAt().AsTime()))
	case p.GetEstimatedEndAt() != nil:
		out.line("Ends about", timeText(p.GetEstimatedEndAt().AsTime()))
	}
	if p.GetState() == agentv1.OperationState_OPERATION_STATE_RUNNING {
		out.line("Abortable", yesNo(p.GetAbortable()))
	}
	describeForecast(out, "Path", p.GetForecast())
	if len(p.GetLogLines()) > 0 && p.GetState() != agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		out.line("Log", p.GetLogLines()...)
	}
	return nil
}

// describeForecast shows what an operation does, or would do.
func describeForecast(out sheet, name string, f *agentv1.Forecast) {
	if f == nil {
		return
	}
	first := f.GetPath()
	if fetched := fetches(f); fetched != "nothing" {
		first += ", fetches " + fetched
	}
	if d := f.GetDowntime().AsDuration(); d > 0 {
		first += ", pods away for about " + span(d)
	}
	if d := f.GetDuration().AsDuration(); d > 0 {
		first += ", takes about " + span(d)
	}
	out.line(name, append([]string{first}, f.GetReasons()...)...)
	if len(f.GetSteps()) > 0 {
		out.line("Steps", strings.Join(stepNames(f), ", "))
	}
	if f.GetRefusal() != "" {
		out.line("Refusal", f.GetRefusal())
	}
}

func stateWord(p *agentv1.OperationProgress) string {
	return strings.ToLower(manifest.EnumWord(p.GetState().Descriptor(), p.GetState().Number()))
}

// kindOfOperation is a kind for people: live network switch.
func kindOfOperation(p *agentv1.OperationProgress) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(p.GetKind().String(), "OPERATION_KIND_"), "_", " "))
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }
