package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	planev1 "hybridagent/proto/hybrid/plane/v1"
)

func newDelete(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "delete KIND NAME",
		Short: "Delete a resource that nothing uses",
		Long: `Delete a resource that nothing uses. A profile is named NAME@VERSION, or NAME for
all its versions. A deleted host loses its stream and has to enrol again.`,
		Args: usage(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, err := kindOf(args[0])
			if err != nil {
				return err
			}
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				if _, err := c.Delete(ctx, &planev1.DeleteRequest{Kind: of, Name: args[1]}); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s deleted\n", of, args[1])
				return nil
			})
		},
	}
}
