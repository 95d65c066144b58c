package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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
		Long: `Show every network interface and why it can be chosen or not. Where the daemon
does not answer, the interfaces are read from the kernel and judged as for NIC
"auto" without an assignment.

Exit codes: 0 shown, 1 failed, 2 wrong usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			nics, err := listNICs(cmd, socket)
			if err != nil {
				return &exitError{exitUnhealthy, err}
			}
			if format != "table" {
				return printMessage(cmd.OutOrStdout(), format, &localv1.ListNICsResponse{Nics: nics})
			}
			writeNICs(cmd.OutOrStdout(), newPainter(cmd.OutOrStdout()), nics)
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	cmd.Flags().StringVar(&socket, "socket", defaultSocket, "`PATH` to ask at")
	return cmd
}

// listNICs asks the daemon, which knows the assignment, or else the kernel.
func listNICs(cmd *cobra.Command, socket string) ([]*agentv1.NIC, error) {
	answer, err := ask(cmd.Context(), socket, func(ctx context.Context, c localv1.LocalServiceClient) (*localv1.ListNICsResponse, error) {
		return c.ListNICs(ctx, &localv1.ListNICsRequest{})
	})
	if err == nil {
		return answer.GetNics(), nil
	}
	cmd.PrintErrf("hybrid-agent: the daemon does not answer; judged without an assignment\n")
	nics, readErr := agent.ReadNICs(cmd.Context())
	if readErr != nil {
		return nil, errors.Join(err, readErr)
	}
	return nics, nil
}

func writeNICs(w io.Writer, p painter, nics []*agentv1.NIC) {
	const row = "%-15s %-8s %-9s %s\n"
	_, _ = fmt.Fprintf(w, row, "NIC", "KIND", "VERDICT ", "ADDRESSES")
	for _, n := range nics {
		verdict := p.dim(fmt.Sprintf("%-9s", "no"))
		switch {
		case n.GetSelected():
			verdict = p.good(fmt.Sprintf("%-9s", "selected"))
		case n.GetCandidate():
			verdict = fmt.Sprintf("%-9s", "possible")
		}
		_, _ = fmt.Fprintf(w, row, n.GetName(), n.GetKind(), verdict, or(strings.Join(n.GetAddresses(), ", "), "-"))
		details := n.GetReasons()
		if n.GetMac() != "" {
			details = append([]string{n.GetMac()}, details...)
		}
		if len(n.GetAltnames()) > 0 {
			details = append(details, "also named "+strings.Join(n.GetAltnames(), ", "))
		}
		for _, line := range wrap(strings.Join(details, "; "), width-2) {
			_, _ = fmt.Fprintf(w, "  %s\n", p.dim(line))
		}
	}
}
