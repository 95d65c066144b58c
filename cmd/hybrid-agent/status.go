package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"hybridagent/agent"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

func newStatus() *cobra.Command {
	var socket, format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state of this host",
		Long: `Show the state of this host: what it is connected to, what is in force, what the
network, the clock and the node are like, and every condition.

Exit codes: 0 every condition is as it should be, 1 one is not, 2 wrong usage,
3 the daemon cannot be reached.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			answer, err := ask(cmd.Context(), socket, func(ctx context.Context, c localv1.LocalServiceClient) (*localv1.GetStatusResponse, error) {
				return c.GetStatus(ctx, &localv1.GetStatusRequest{})
			})
			if err != nil {
				return err
			}
			if format == "table" {
				writeStatus(cmd.OutOrStdout(), newPainter(cmd.OutOrStdout()), answer.GetStatus(), time.Now())
			} else if err := printMessage(cmd.OutOrStdout(), format, answer.GetStatus()); err != nil {
				return err
			}
			return verdictOf(answer.GetStatus())
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	cmd.Flags().StringVar(&socket, "socket", defaultSocket, "`PATH` to ask at")
	return cmd
}

// verdictOf turns conditions into the exit code.
func verdictOf(s *localv1.Status) error {
	for _, c := range s.GetConditions() {
		if !agent.Healthy(c) {
			return &exitError{code: exitUnhealthy}
		}
	}
	return nil
}
