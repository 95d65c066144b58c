package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hybridagent/plane/kind"
	"hybridagent/plane/manifest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

func newDescribe(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe host NAME",
		Short: "Show all that the plane knows of a host, for people",
		Args:  usage(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, err := kindOf(args[0])
			if err != nil {
				return err
			}
			if of != kind.Host {
				return usageError{fmt.Errorf("only hosts are described; use 'hybridctl get %s %s -o yaml'", args[0], args[1])}
			}
			return g.call(cmd.Context(), func(ctx context.Context, c planev1.PlaneServiceClient) error {
				resp, err := c.Get(ctx, &planev1.GetRequest{Kind: of, Name: args[1]})
				if err != nil {
					return err
				}
				describeHost(cmd.OutOrStdout(), resp.GetResource())
				return nil
			})
		},
	}
	return cmd
}

func describeHost(w io.Writer, r *planev1.Resource) {
	s := r.GetEdgeHostStatus()
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-13s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	line("Name", "%s", r.GetMetadata().GetName())
	line("Pool", "%s", orDash(s.GetPool()))
	line("Connected", "%s since %s", yesNo(s.GetConnected()), s.GetSince().AsTime().UTC().Format(time.RFC3339))
	line("Agent", "%s", orDash(s.GetAgentVersion()))
	inv := s.GetInventory()
	line("System", "%s, %s, kernel %s, %d CPUs, %d MiB", orDash(inv.GetOs()),
		manifest.EnumWord(inv.GetArchitecture().Descriptor(), inv.GetArchitecture().Number()), orDash(inv.GetKernel()), inv.GetCpus(), inv.GetMemoryBytes()>>20)
	line("Generation", "%d in force, %d wanted%s", s.GetHost().GetGeneration(), s.GetWantedGeneration(), refusals(s.GetAssignment()))
	line("Node", "%s, IP %s, Kubernetes %s", nodeState(s).text, orDash(s.GetHost().GetNodeIp()), orDash(s.GetHost().GetAppliedKubernetesVersion()))
	line("Routes", "%s", orDash(strings.Join(s.GetHost().GetRoutes(), "\n              ")))
	if f := s.GetHost().GetRepaveFields(); len(f) > 0 {
		line("Repave", "needed for %s", strings.Join(f, ", "))
	}
	describeOperation(line, s.GetOperation())
	if len(s.GetConditions()) > 0 {
		fmt.Fprintln(w)
		conditionTable(s.GetConditions()).write(w)
	}
	if len(inv.GetNics()) > 0 {
		fmt.Fprintln(w)
		nicTable(inv.GetNics()).write(w)
	}
}

func describeOperation(line func(string, string, ...any), op *agentv1.OperationProgress) {
	if op == nil {
		return
	}
	line("Operation", "%s %s, %s at %s", strings.ToLower(manifest.EnumWord(op.GetKind().Descriptor(), op.GetKind().Number())), op.GetOperationId(),
		strings.ToLower(manifest.EnumWord(op.GetState().Descriptor(), op.GetState().Number())), orDash(op.GetStep()))
	if op.GetMessage() != "" {
		line("", "%s", op.GetMessage())
	}
}

func conditionTable(conditions []*agentv1.Condition) *table {
	t := &table{head: []string{"CONDITION", "STATUS", "REASON", "MESSAGE"}}
	for _, c := range conditions {
		t.add(text(c.GetType()), text(manifest.EnumWord(c.GetStatus().Descriptor(), c.GetStatus().Number())), text(c.GetReason()), text(c.GetMessage()))
	}
	return t
}

func refusals(r *agentv1.AssignmentResult) string {
	if r == nil || r.GetAccepted() {
		return ""
	}
	out := fmt.Sprintf("; %d was refused", r.GetGeneration())
	for _, f := range r.GetRefusals() {
		out += "\n              " + f.GetField() + ": " + f.GetReason()
	}
	return out
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
