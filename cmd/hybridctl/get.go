package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hybridagent/plane/kind"
	"hybridagent/plane/manifest"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

func newGet(g *globals) *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "get KINDS [NAME]",
		Short: "Show resources: clusters, profiles, pools, hosts, tokens; or the nics of a host",
		Long: `Show resources of a kind, or one by name.

Kinds: clusters (hc), profiles (prof), pools (np), hosts (eh), tokens (tok).
A profile is named NAME (its highest version) or NAME@VERSION.
'get nics HOST' shows the NICs that a host reported, to choose one from.
Secrets are never shown. What -o yaml writes can be changed and applied.`,
		Example: "  hybridctl get pools\n  hybridctl get hosts -o json\n  hybridctl get nics edge-1",
		Args:    usage(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return get(cmd, g, o, args)
		},
	}
	o.register(cmd)
	return cmd
}

func get(cmd *cobra.Command, g *globals, o output, args []string) error {
	if args[0] == "nics" || args[0] == "nic" {
		if len(args) != 2 {
			return usageError{fmt.Errorf("'get nics' needs the name of a host")}
		}
		return getNICs(cmd, g, o, args[1])
	}
	of, err := kindOf(args[0])
	if err != nil {
		return err
	}
	return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
		if len(args) == 1 {
			resp, err := c.List(ctx, &planev1.ListRequest{Kind: of})
			if err != nil {
				return err
			}
			return o.write(cmd.OutOrStdout(), of, resp.GetResources(), false)
		}
		resp, err := c.Get(ctx, &planev1.GetRequest{Kind: of, Name: args[1]})
		if err != nil {
			return err
		}
		if err := o.write(cmd.OutOrStdout(), of, []*planev1.Resource{resp.GetResource()}, true); err != nil {
			return err
		}
		if o.format == outputTable {
			writeMore(cmd.OutOrStdout(), resp.GetResource())
		}
		return nil
	})
}

// writeMore writes below the row of one resource what has no place in it.
func writeMore(w io.Writer, r *planev1.Resource) {
	if ro := r.GetNodePoolStatus().GetRollout(); ro != nil {
		fmt.Fprintln(w)
		paragraph(w, rolloutText(ro))
	}
	if problems := r.GetNodePoolStatus().GetProblems(); len(problems) > 0 {
		fmt.Fprintln(w)
		for _, p := range problems {
			paragraph(w, p)
		}
	}
	if nics := r.GetEdgeHostStatus().GetInventory().GetNics(); len(nics) > 0 {
		fmt.Fprintln(w)
		nicTable(nics).write(w)
	}
}

func getNICs(cmd *cobra.Command, g *globals, o output, host string) error {
	return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
		resp, err := c.Get(ctx, &planev1.GetRequest{Kind: kind.Host, Name: host})
		if err != nil {
			return err
		}
		if o.format != outputTable {
			return o.write(cmd.OutOrStdout(), kind.Host, []*planev1.Resource{resp.GetResource()}, true)
		}
		nics := resp.GetResource().GetEdgeHostStatus().GetInventory().GetNics()
		if len(nics) == 0 {
			return fmt.Errorf("host %q has not reported its NICs yet; it does so when it connects", host)
		}
		nicTable(nics).write(cmd.OutOrStdout())
		return nil
	})
}

// rolloutText is the repave of a pool in a sentence.
func rolloutText(ro *planev1.RolloutStatus) string {
	began := ""
	if ro.GetStartedAt() != nil {
		began = ", begun " + timeText(ro.GetStartedAt().AsTime())
	}
	return fmt.Sprintf("Repave: %s, %d of %d hosts done%s", strings.ToLower(manifest.EnumWord(ro.GetState().Descriptor(), ro.GetState().Number())), ro.GetDone(), ro.GetHosts(), began)
}
