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
	out := sheet{w}
	out.line("Name", r.GetMetadata().GetName())
	out.line("Pool", orDash(s.GetPool()))
	out.line("Connected", fmt.Sprintf("%s since %s", yesNo(s.GetConnected()), s.GetSince().AsTime().UTC().Format(time.RFC3339)))
	out.line("Agent", orDash(s.GetAgentVersion()))
	inv := s.GetInventory()
	out.line("System", systemLine(inv))
	out.line("Generation", append([]string{fmt.Sprintf("%d in force, %d wanted", s.GetHost().GetGeneration(), s.GetWantedGeneration())}, refusals(s.GetAssignment())...)...)
	out.line("Node", fmt.Sprintf("%s, IP %s, Kubernetes %s", nodeState(s).text, orDash(s.GetHost().GetNodeIp()), orDash(s.GetHost().GetAppliedKubernetesVersion())))
	out.line("VPN servers", vpnServers(s.GetHost()))
	if routes := s.GetHost().GetRoutes(); len(routes) > 0 {
		out.line("Routes", routes...)
	} else {
		out.line("Routes", "-")
	}
	if f := s.GetHost().GetRepaveFields(); len(f) > 0 {
		out.line("Repave", "needed for "+strings.Join(f, ", "))
		describeForecast(out, "Forecast", s.GetHost().GetForecast())
	}
	if remarks := s.GetHost().GetRemarks(); len(remarks) > 0 {
		out.line("By hand", remarks...)
	}
	describeOperation(out, s.GetOperation())
	describeSwitch(out, s.GetNetworkSwitch())
	if len(s.GetConditions()) > 0 {
		fmt.Fprintln(w)
		conditionTable(s.GetConditions()).write(w)
	}
	if len(inv.GetNics()) > 0 {
		fmt.Fprintln(w)
		nicTable(inv.GetNics()).write(w)
	}
}

func systemLine(inv *agentv1.Inventory) string {
	if inv == nil {
		return "-"
	}
	return fmt.Sprintf("%s, %s, kernel %s, %d CPUs, %d MiB", orDash(inv.GetOs()),
		manifest.EnumWord(inv.GetArchitecture().Descriptor(), inv.GetArchitecture().Number()), orDash(inv.GetKernel()),
		inv.GetCpus(), inv.GetMemoryBytes()>>20)
}

func describeOperation(out sheet, op *agentv1.OperationProgress) {
	if op == nil {
		return
	}
	state := stateWord(op)
	if op.GetStep() != "" {
		state += " at " + op.GetStep()
	}
	out.line("Operation", fmt.Sprintf("%s %s, %s", kindOfOperation(op), op.GetOperationId(), state))
	if op.GetEndedAt() != nil {
		out.line("Outcome", op.GetMessage())
	} else {
		out.line("Message", op.GetMessage())
	}
}

// vpnServers are those of the host's network, and which one carries the routes.
func vpnServers(h *agentv1.HostStatus) string {
	switch {
	case len(h.GetVpnServers()) == 0 && h.GetVpnServer() == "":
		return "-"
	case h.GetVpnServer() == "":
		return strings.Join(h.GetVpnServers(), ", ") + "; none is active"
	default:
		return strings.Join(h.GetVpnServers(), ", ") + "; active: " + h.GetVpnServer()
	}
}

// describeSwitch shows the last live network switch, and what came of it.
func describeSwitch(out sheet, st *planev1.OperationStatus) {
	if st == nil {
		return
	}
	p := st.GetProgress()
	state := strings.ToLower(manifest.EnumWord(p.GetState().Descriptor(), p.GetState().Number()))
	if p.GetStep() != "" {
		state += " at " + p.GetStep()
	}
	when := st.GetSignedAt()
	if p.GetEndedAt() != nil {
		when = p.GetEndedAt()
	}
	if when != nil {
		state += ", " + when.AsTime().UTC().Format(time.RFC3339)
	}
	out.line("Live switch", fmt.Sprintf("%s to %s, %s", p.GetOperationId(), orDash(strings.Join(st.GetVpnServers(), ", ")), state), p.GetMessage(), st.GetRemark())
}

// conditionTable lists conditions, each with its message below.
func conditionTable(conditions []*agentv1.Condition) *table {
	t := &table{head: []string{"CONDITION", "STATUS", "REASON"}}
	for _, c := range conditions {
		t.add(text(c.GetType()), text(manifest.EnumWord(c.GetStatus().Descriptor(), c.GetStatus().Number())), text(c.GetReason()))
		t.note(c.GetMessage())
	}
	return t
}

// refusals are the lines about an assignment that the host refused.
func refusals(r *agentv1.AssignmentResult) []string {
	if r == nil || r.GetAccepted() {
		return nil
	}
	out := []string{fmt.Sprintf("generation %d was refused:", r.GetGeneration())}
	for _, f := range refusedFields(r) {
		out = append(out, "- "+f)
	}
	return out
}

// refusalLine is refusals in one sentence; empty: nothing was refused.
func refusalLine(r *agentv1.AssignmentResult) string {
	if r == nil || r.GetAccepted() {
		return ""
	}
	return fmt.Sprintf("generation %d was refused: %s", r.GetGeneration(), strings.Join(refusedFields(r), "; "))
}

func refusedFields(r *agentv1.AssignmentResult) []string {
	var out []string
	for _, f := range r.GetRefusals() {
		out = append(out, f.GetField()+": "+f.GetReason())
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
