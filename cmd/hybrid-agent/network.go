package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	localv1 "hybridagent/proto/hybrid/local/v1"
)

// networkCall is one of the calls that act on the network.
type networkCall func(context.Context, localv1.LocalServiceClient) (*localv1.NetworkState, error)

func newNetwork() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Show the network of this host, or end its trial",
		Long: `Show the network of this host: the NIC, the routes, the VPN servers, and a
change that is on trial.

A change of the network is tried first. It stays once the plane has answered on
a new connection and the VPC answers no worse than before; else the network from
before returns by itself, also after a restart or a power cut. Root on this host
may end a trial, and may have one repeated that was rolled back.

Exit codes: 0 shown, 2 wrong usage, 3 the daemon cannot be reached.`,
		Args: cobra.NoArgs,
	}
	var format string
	socket := cmd.PersistentFlags().String("socket", defaultSocket, "`PATH` to ask at")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkFormat(format); err != nil {
			return err
		}
		return showNetwork(cmd, *socket, format)
	}
	cmd.AddCommand(
		newNetworkAct(socket, "confirm", "Keep the network that is on trial",
			`Keep the network that is on trial, whatever the plane and the path say. Root only.`,
			func(ctx context.Context, c localv1.LocalServiceClient) (*localv1.NetworkState, error) {
				answer, err := c.ConfirmNetwork(ctx, &localv1.ConfirmNetworkRequest{})
				return answer.GetNetwork(), err
			}),
		newNetworkAct(socket, "rollback", "Bring back the network from before the trial",
			`End the trial at once: the network from before it returns, and the plane is told
that the change was refused. Root only.`,
			func(ctx context.Context, c localv1.LocalServiceClient) (*localv1.NetworkState, error) {
				answer, err := c.RollbackNetwork(ctx, &localv1.RollbackNetworkRequest{})
				return answer.GetNetwork(), err
			}),
		newNetworkAct(socket, "retry", "Try once more what was rolled back",
			`Try the change once more that was rolled back last: it is not tried again by
itself. Root only.`,
			func(ctx context.Context, c localv1.LocalServiceClient) (*localv1.NetworkState, error) {
				answer, err := c.RetryNetwork(ctx, &localv1.RetryNetworkRequest{})
				return answer.GetNetwork(), err
			}),
	)
	return cmd
}

func showNetwork(cmd *cobra.Command, socket, format string) error {
	answer, err := ask(cmd.Context(), socket, func(ctx context.Context, c localv1.LocalServiceClient) (*localv1.GetStatusResponse, error) {
		return c.GetStatus(ctx, &localv1.GetStatusRequest{})
	})
	if err != nil {
		return err
	}
	return printNetwork(cmd, format, answer.GetStatus().GetNetwork())
}

func printNetwork(cmd *cobra.Command, format string, n *localv1.NetworkState) error {
	if format != "table" {
		return printMessage(cmd.OutOrStdout(), format, n)
	}
	sheet{cmd.OutOrStdout()}.line("Network", networkLines(n, time.Now())...)
	return nil
}

func newNetworkAct(socket *string, name, short, long string, call networkCall) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: name, Short: short,
		Long: long + `

Exit codes: 0 done, 1 there is nothing to do it with, 2 wrong usage, 3 the daemon
cannot be reached or refuses.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			var refused error
			network, err := ask(cmd.Context(), *socket, func(ctx context.Context, c localv1.LocalServiceClient) (*localv1.NetworkState, error) {
				n, err := call(ctx, c)
				if status.Code(err) == codes.FailedPrecondition {
					refused, err = err, nil
				}
				return n, err
			})
			switch {
			case err != nil:
				return err
			case refused != nil:
				return &exitError{exitUnhealthy, fmt.Errorf("cannot %s the network: %s", name, status.Convert(refused).Message())}
			}
			return printNetwork(cmd, format, network)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	return cmd
}
