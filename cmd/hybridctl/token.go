package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"hybridagent/plane/kind"
	"hybridagent/plane/manifest"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const defaultTokenTTL = 24 * time.Hour

func newToken(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke enrolment tokens",
		Args:  usage(cobra.NoArgs),
		RunE:  needSubcommand,
	}
	cmd.AddCommand(newTokenCreate(g), newTokenList(g), newTokenRevoke(g))
	return cmd
}

func newTokenCreate(g *globals) *cobra.Command {
	var name, format string
	var ttl time.Duration
	var uses uint32
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an enrolment token and print it, this once",
		Long: `Make an enrolment token. Its text is the only line on standard output, so that it
can be written to a file; the plane keeps a hash and never shows it again.`,
		Example: "  hybridctl token create --uses 20 --ttl 8h > enrollment-token",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != outputJSON {
				return usageError{fmt.Errorf("--output %q is none of text, json", format)}
			}
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				resp, err := c.CreateToken(ctx, &planev1.CreateTokenRequest{Name: name, Ttl: durationpb.New(ttl), Uses: uses})
				if err != nil {
					return err
				}
				return writeToken(cmd, format, resp, ttl, uses)
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the token (default: one that is free)")
	cmd.Flags().DurationVar(&ttl, "ttl", defaultTokenTTL, "how long it may be used, at most 720h")
	cmd.Flags().Uint32Var(&uses, "uses", 1, "how many hosts may use it, at most 10000")
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func writeToken(cmd *cobra.Command, format string, resp *planev1.CreateTokenResponse, ttl time.Duration, uses uint32) error {
	if format == outputJSON {
		b, err := manifest.JSON(map[string]any{"name": resp.GetName(), "token": resp.GetToken(), "caPin": resp.GetCaPin()})
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(b)
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), resp.GetToken())
	fmt.Fprintf(cmd.ErrOrStderr(), "token %s: %d uses within %s\nhosts also need the plane's pin: %s\n", resp.GetName(), uses, ttl, resp.GetCaPin())
	return nil
}

func newTokenList(g *globals) *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the tokens; the same as 'get tokens'",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return get(cmd, g, o, []string{kind.Token})
		},
	}
	o.register(cmd)
	return cmd
}

func newTokenRevoke(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "End a token; hosts that used it keep their identity",
		Args:  usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				if _, err := c.RevokeToken(ctx, &planev1.RevokeTokenRequest{Name: args[0]}); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "EnrollmentToken %s revoked\n", args[0])
				return nil
			})
		},
	}
}
