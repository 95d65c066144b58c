package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	localv1 "hybridagent/proto/hybrid/local/v1"
)

func newPath() *cobra.Command {
	var socket, format string
	cmd := &cobra.Command{
		Use:   "path",
		Short: "Show how the way to the VPC does, and what of it is broken",
		Long: `Show how the way to the VPC does: the verdict and since when it holds, the
broken segment and what to do about it, every probed target, every VPN server,
and the path MTU.

Segments, from the host outwards: link, address, gateway, internet, DNS, proxy,
VPN server, tunnel, API port; and MTU, reverse-path filter, clock.

Exit codes: 0 the path is healthy, 1 it is not, or nothing is known of it,
2 wrong usage, 3 the daemon cannot be reached.`,
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
				writePath(cmd.OutOrStdout(), newPainter(cmd.OutOrStdout()), answer.GetStatus(), time.Now())
			} else if err := printPath(cmd.OutOrStdout(), format, answer.GetStatus()); err != nil {
				return err
			}
			if !pathHealthy(answer.GetStatus().GetPathSummary()) {
				return &exitError{code: exitUnhealthy}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	cmd.Flags().StringVar(&socket, "socket", defaultSocket, "`PATH` to ask at")
	return cmd
}

// pathHealthy says whether a verdict is a good one.
func pathHealthy(s *localv1.PathSummary) bool { return s.GetVerdict() == "Healthy" }

// writePath prints the path for people.
func writePath(w io.Writer, p painter, s *localv1.Status, now time.Time) {
	out := sheet{w}
	summary := s.GetPathSummary()
	out.line("Verdict", pathVerdict(summary, now))
	out.line("", summary.GetMessage())
	out.line("Path MTU", pathMTU(summary))
	if len(s.GetPath()) > 0 {
		_, _ = fmt.Fprintf(w, "\n%-26s %-6s %s\n", "TARGET", "METHOD", "ANSWER")
	}
	for _, t := range s.GetPath() {
		writeAnswer(w, p, fmt.Sprintf("%-26s %-6s", t.GetTarget(), t.GetMethod()), t.GetOk(), t.GetRtt().AsDuration(), t.GetError())
	}
	servers := s.GetNetwork().GetVpnServers()
	if len(servers) > 0 {
		_, _ = fmt.Fprintf(w, "\n%-16s %-7s %-8s %s\n", "VPN SERVER", "USE", "FOR", "ANSWER")
	}
	for _, v := range servers {
		use, since := "standby", "-"
		if v.GetActive() {
			use = "active"
		}
		if v.GetSince() != nil {
			since = age(now.Sub(v.GetSince().AsTime()))
		}
		writeAnswer(w, p, fmt.Sprintf("%-16s %-7s %-8s", v.GetAddress(), use, since), v.GetOk(), v.GetRtt().AsDuration(), v.GetError())
	}
}

// writeAnswer ends a row with what came of the probe; what does not fit goes on
// below it.
func writeAnswer(w io.Writer, p painter, row string, ok bool, rtt time.Duration, why string) {
	switch {
	case ok:
		_, _ = fmt.Fprintf(w, "%s %s\n", row, p.good(millis(rtt)))
	case len(row)+1+len(why) <= width:
		_, _ = fmt.Fprintf(w, "%s %s\n", row, p.bad(or(why, "not probed")))
	default:
		_, _ = fmt.Fprintf(w, "%s %s\n", row, p.bad("none"))
		for _, line := range wrap(why, width-2) {
			_, _ = fmt.Fprintf(w, "  %s\n", line)
		}
	}
}

func pathVerdict(s *localv1.PathSummary, now time.Time) string {
	if s.GetVerdict() == "" {
		return "not known: nothing was probed yet"
	}
	text := s.GetVerdict()
	if s.GetSince() != nil {
		text += " for " + age(now.Sub(s.GetSince().AsTime()))
	}
	if s.GetSegment() != "" {
		text += ", broken: " + s.GetSegment()
	}
	return text
}

func pathMTU(s *localv1.PathSummary) string {
	if s.GetPathMtu() == 0 {
		return "not known"
	}
	parts := []string{fmt.Sprintf("%d bytes", s.GetPathMtu())}
	if s.GetMtuBlackHole() {
		parts = append(parts, "larger packets vanish without an ICMP error")
	}
	if s.GetRouteMtu() > 0 {
		parts = append(parts, fmt.Sprintf("the routes carry %d", s.GetRouteMtu()))
	}
	return strings.Join(parts, "; ")
}

// printPath prints the parts of the status that are about the path, with the names
// of the .proto file.
func printPath(w io.Writer, format string, s *localv1.Status) error {
	document := struct {
		Summary json.RawMessage   `json:"path_summary"`
		Targets []json.RawMessage `json:"path"`
		Servers []json.RawMessage `json:"vpn_servers"`
	}{Targets: []json.RawMessage{}, Servers: []json.RawMessage{}}
	var err error
	raw := func(m proto.Message) json.RawMessage {
		text, marshalErr := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
		if err == nil {
			err = marshalErr
		}
		return text
	}
	summary := s.GetPathSummary()
	if summary == nil {
		summary = &localv1.PathSummary{}
	}
	document.Summary = raw(summary)
	for _, t := range s.GetPath() {
		document.Targets = append(document.Targets, raw(t))
	}
	for _, v := range s.GetNetwork().GetVpnServers() {
		document.Servers = append(document.Servers, raw(v))
	}
	text, marshalErr := json.MarshalIndent(document, "", "  ")
	if err == nil {
		err = marshalErr
	}
	if err == nil && format == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return fmt.Errorf("cannot print the path as %s: %w", format, err)
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(text), "\n"))
	return err
}
