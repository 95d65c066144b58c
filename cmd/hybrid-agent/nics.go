package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"hybridagent/agent"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

func newNICs() *cobra.Command {
	var socket, format string
	cmd := &cobra.Command{
		Use:   "nics",
		Short: "Show every network interface and why it can be chosen or not",
		Long: `Show every network interface and why it can be chosen or not. CHOICE is
"selected", "possible" (it could be used; name it for the host to have it) or
"no"; 'hybridctl get nics' shows the same on the plane. Where the daemon does
not answer, the interfaces are read from the kernel and judged as for NIC "auto"
without an assignment.

Exit codes: 0 shown, 1 failed, 2 wrong usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			nics, asked, err := listNICs(cmd, socket)
			if err != nil {
				return &exitError{exitUnhealthy, err}
			}
			if format != "table" {
				return printMessage(cmd.OutOrStdout(), format, &localv1.ListNICsResponse{Nics: nics})
			}
			writeNICs(cmd.OutOrStdout(), newPainter(cmd.OutOrStdout()), nics)
			if asked && !slices.ContainsFunc(nics, (*agentv1.NIC).GetSelected) {
				cmd.PrintErrf("hybrid-agent: no NIC is selected; 'hybrid-agent status' says why, at NICSelected\n")
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	cmd.Flags().StringVar(&socket, "socket", defaultSocket, "`PATH` to ask at")
	return cmd
}

// listNICs asks the daemon, which knows the assignment, or else the kernel; asked
// says which of them.
func listNICs(cmd *cobra.Command, socket string) (nics []*agentv1.NIC, asked bool, err error) {
	answer, err := ask(cmd.Context(), socket, func(ctx context.Context, c localv1.LocalServiceClient) (*localv1.ListNICsResponse, error) {
		return c.ListNICs(ctx, &localv1.ListNICsRequest{})
	})
	if err == nil {
		return answer.GetNics(), true, nil
	}
	cmd.PrintErrf("hybrid-agent: the daemon does not answer; judged without an assignment\n")
	nics, readErr := agent.ReadNICs(cmd.Context())
	if readErr != nil {
		return nil, false, errors.Join(err, readErr)
	}
	return nics, false, nil
}
