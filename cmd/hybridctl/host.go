package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hybridagent/plane/kind"
	"hybridagent/plane/manifest"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	// defaultSwitchTimeout is how long a live switch is waited for: the host's own
	// deadline for it.
	defaultSwitchTimeout = 3 * time.Minute
	// setTries bounds the retries of a change that others overtook.
	setTries = 5
)

func newHost(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Change the network of one host",
		Args:  usage(cobra.NoArgs),
		RunE:  needSubcommand,
	}
	cmd.AddCommand(newSetVPN(g), newRetryNetwork(g))
	return cmd
}

// setVPN is one call of 'host set-vpn'.
type setVPN struct {
	host    string
	servers []string
	live    bool
	timeout time.Duration
	format  string
}

func newSetVPN(g *globals) *cobra.Command {
	var s setVPN
	cmd := &cobra.Command{
		Use:   "set-vpn HOST IP[,IP...]",
		Short: "Give a host other VPN servers, at its next repave or at once",
		Long: `Give a host other VPN servers, in order of preference.

Without --live they are written into the host's NodePool. A node takes them over
with its next repave; a host that is no node yet tries them at once.

With --live the host tries them now, without a repave or a restart of pods. It
keeps them only when the plane answers over them and the VPC is no worse reached
than before; else it goes back by itself, and says why. Only what the host keeps
is written into the NodePool. Ctrl-C ends the waiting, not the operation.

Exit codes: 0 done, 1 refused, or the host went back, 2 wrong usage, 3 plane
unreachable, 4 the operation goes on ('hybridctl describe host HOST' shows it).`,
		Example: "  hybridctl host set-vpn edge-1 10.200.0.3 --live\n  hybridctl host set-vpn edge-1 10.200.0.2,10.200.0.3",
		Args:    usage(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.format != "text" && s.format != outputJSON {
				return usageError{fmt.Errorf("--output %q is none of text, json", s.format)}
			}
			if s.timeout <= 0 {
				return usageError{fmt.Errorf("--timeout %s is not longer than nothing", s.timeout)}
			}
			s.host, s.servers = args[0], splitServers(args[1])
			if s.live {
				return s.switchLive(cmd, g)
			}
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				return s.setInPool(ctx, cmd, c)
			})
		},
	}
	cmd.Flags().BoolVar(&s.live, "live", false, "have the host try them now")
	cmd.Flags().DurationVar(&s.timeout, "timeout", defaultSwitchTimeout, "with --live, how long to wait for the end")
	cmd.Flags().StringVarP(&s.format, "output", "o", "text", "text or json")
	return cmd
}

func splitServers(list string) []string {
	var out []string
	for _, s := range strings.Split(list, ",") {
		out = append(out, strings.TrimSpace(s))
	}
	return out
}

// setInPool writes the servers into the pool as it is then, also when others
// write it at the same time.
func (s *setVPN) setInPool(ctx context.Context, cmd *cobra.Command, c planev1.PlaneServiceClient) error {
	resp, err := c.Get(ctx, &planev1.GetRequest{Kind: kind.Host, Name: s.host})
	if err != nil {
		return err
	}
	st := resp.GetResource().GetEdgeHostStatus()
	if st.GetPool() == "" {
		return fmt.Errorf("host %s is in no NodePool; add it to one with its vpnServers", s.host)
	}
	for range setTries {
		var applied *planev1.ApplyResponse
		applied, err = s.apply(ctx, c, st.GetPool())
		if err == nil {
			return s.writeSet(cmd, st, applied)
		}
		if status.Code(err) != codes.Aborted {
			break
		}
	}
	return err
}

func (s *setVPN) apply(ctx context.Context, c planev1.PlaneServiceClient, name string) (*planev1.ApplyResponse, error) {
	resp, err := c.Get(ctx, &planev1.GetRequest{Kind: kind.Pool, Name: name})
	if err != nil {
		return nil, err
	}
	pool := resp.GetResource()
	pool.Status = nil
	for _, h := range pool.GetNodePool().GetHosts() {
		if h.GetHostId() == s.host {
			h.VpnServers = s.servers
		}
	}
	return c.Apply(ctx, &planev1.ApplyRequest{Resource: pool})
}

// writeSet says what was written, and when it takes effect.
func (s *setVPN) writeSet(cmd *cobra.Command, st *planev1.EdgeHostStatus, applied *planev1.ApplyResponse) error {
	outcome := strings.ToLower(strings.TrimPrefix(applied.GetOutcome().String(), "APPLY_OUTCOME_"))
	node := st.GetHost().GetAppliedNodeDigest() != ""
	if s.format == outputJSON {
		effect := "at-once"
		if node {
			effect = "repave"
		}
		return writeJSON(cmd, map[string]any{
			"host": s.host, "pool": st.GetPool(), "vpnServers": s.servers, "live": false, "outcome": outcome, "effect": effect,
		})
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "NodePool %s %s\n", st.GetPool(), outcome)
	if node {
		paragraph(w, fmt.Sprintf("host %s takes %s over with its next repave; to have it try at once:", s.host, strings.Join(s.servers, ", ")))
		fmt.Fprintf(w, "  hybridctl host set-vpn %s %s --live\n", s.host, strings.Join(s.servers, ","))
		return nil
	}
	paragraph(w, fmt.Sprintf("host %s is no node yet: it tries %s at once, and goes back by itself where they do not serve; see: hybridctl describe host %s",
		s.host, strings.Join(s.servers, ", "), s.host))
	return nil
}

func writeJSON(cmd *cobra.Command, v any) error {
	b, err := manifest.JSON(v)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(b)
	return err
}
