package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	planev1 "hybridagent/proto/hybrid/plane/v1"
)

func newProvision(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "provision HOST",
		Short: "Have a failed provisioning tried again",
		Long: `Have the failed provisioning of a host tried again, once what made it fail is
mended. A first provisioning needs no command: it begins when the host is ready. A
failed leave is tried again in the same way ('hybridctl operation retry HOST').`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				if _, err := c.Provision(ctx, &planev1.ProvisionRequest{HostId: args[0]}); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "EdgeHost %s will be provisioned again\n", args[0])
				return nil
			})
		},
	}
}
