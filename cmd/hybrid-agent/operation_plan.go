package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// planTimeout is as long as hybrid-agent-op may take for a forecast.
const planTimeout = 2 * time.Minute

func newOperationPlan() *cobra.Command {
	var socket, kind, format string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say what an operation would do now, without doing it",
		Long: `Say what an operation would do now, without doing it: the path and why that one,
the steps, how much is fetched, how long it takes and pods do not run, and
whether it would be refused. Without --kind it is what brings this host to what
the plane wants: a provision or a repave.

Exit codes: 0 it would begin, 1 it would be refused, or there is nothing to
plan, 2 wrong usage, 3 the daemon cannot be reached.`,
		Example: "  hybrid-agent operation plan --kind leave",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted, err := planKind(kind)
			if err == nil {
				err = checkFormat(format)
			}
			if err != nil {
				return err
			}
			forecast, err := plan(cmd.Context(), socket, wanted)
			if err != nil {
				return err
			}
			return printForecast(cmd.OutOrStdout(), format, forecast)
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "repave, reconfigure, provision or leave")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	cmd.Flags().StringVar(&socket, "socket", defaultSocket, "`PATH` to ask at")
	return cmd
}

func planKind(name string) (agentv1.OperationKind, error) {
	switch name {
	case "":
		return agentv1.OperationKind_OPERATION_KIND_UNSPECIFIED, nil
	case "repave":
		return agentv1.OperationKind_OPERATION_KIND_REPAVE, nil
	case "reconfigure":
		return agentv1.OperationKind_OPERATION_KIND_RECONFIGURE, nil
	case "provision":
		return agentv1.OperationKind_OPERATION_KIND_PROVISION, nil
	case "leave":
		return agentv1.OperationKind_OPERATION_KIND_LEAVE, nil
	}
	return 0, usage(fmt.Errorf("--kind %q is neither repave, reconfigure, provision nor leave", name))
}

// plan asks the daemon for a forecast.
func plan(ctx context.Context, socket string, kind agentv1.OperationKind) (*agentv1.Forecast, error) {
	var refused error
	answer, err := askWithin(ctx, planTimeout, socket, func(ctx context.Context, c localv1.LocalServiceClient) (*localv1.PlanOperationResponse, error) {
		answer, err := c.PlanOperation(ctx, &localv1.PlanOperationRequest{Kind: kind})
		if status.Code(err) == codes.FailedPrecondition {
			refused, err = errors.New(status.Convert(err).Message()), nil
		}
		return answer, err
	})
	switch {
	case err != nil:
		return nil, err
	case refused != nil:
		return nil, &exitError{exitUnhealthy, fmt.Errorf("cannot plan: %w", refused)}
	}
	return answer.GetForecast(), nil
}

func printForecast(w io.Writer, format string, forecast *agentv1.Forecast) error {
	if format == "table" {
		writeForecast(w, forecast)
	} else if err := printMessage(w, format, forecast); err != nil {
		return err
	}
	if forecast.GetRefusal() != "" {
		return &exitError{code: exitUnhealthy}
	}
	return nil
}

// writeForecast prints a forecast for people.
func writeForecast(w io.Writer, f *agentv1.Forecast) {
	out := sheet{w}
	out.line("Path", append([]string{or(f.GetPath(), "none")}, bullets(f.GetReasons())...)...)
	out.line("Fetches", fetchLine(f))
	if f.GetDuration() != nil {
		out.line("Takes", "about "+age(f.GetDuration().AsDuration()))
	}
	if f.GetDowntime() != nil {
		out.line("Downtime", downtimeLine(f.GetDowntime().AsDuration()))
	}
	if f.GetRefusal() != "" {
		out.line("Refused", f.GetRefusal())
	}
	if len(f.GetSteps()) > 0 {
		_, _ = fmt.Fprintln(w)
		writeSteps(w, f.GetSteps(), func(int) string { return "-" })
	}
}

func fetchLine(f *agentv1.Forecast) string {
	switch bytes := f.GetFetchBytes(); {
	case bytes == 0 && f.GetUnknownFetch():
		return "an amount that nobody has told"
	case bytes == 0:
		return "nothing"
	case f.GetUnknownFetch():
		return amount(bytes) + ", and more that nobody has told the size of"
	default:
		return amount(bytes)
	}
}

func downtimeLine(d time.Duration) string {
	if d == 0 {
		return "none: pods go on running"
	}
	return "pods do not run on this node for about " + age(d)
}

// amount writes a number of bytes: 1.5 MiB.
func amount(bytes uint64) string {
	const step = 1024
	value, unit := float64(bytes), 0
	for value >= step && unit < 4 {
		value, unit = value/step, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, []string{"", "KiB", "MiB", "GiB", "TiB"}[unit])
}
