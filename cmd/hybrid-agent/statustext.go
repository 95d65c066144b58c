package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"hybridagent/agent"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// label is the width of the left column.
const label = 12

// sheet writes labelled lines of at most 80 columns.
type sheet struct{ w io.Writer }

func (s sheet) line(name string, texts ...string) {
	for _, text := range texts {
		for _, line := range wrap(text, width-label) {
			_, _ = fmt.Fprintf(s.w, "%-*s%s\n", label, name, line)
			name = ""
		}
	}
}

// writeStatus prints the whole state for people.
func writeStatus(w io.Writer, p painter, s *localv1.Status, now time.Time) {
	out := sheet{w}
	out.line("Host", fmt.Sprintf("%s (from %s), hybrid-agent %s", or(s.GetHostId(), "no host ID yet"), or(s.GetHostIdSource(), "nowhere"), s.GetVersion()))
	out.line("Plane", planeLine(s.GetPlane(), now))
	out.line("Assignment", assignmentLines(s.GetAssignment())...)
	out.line("Network", networkLines(s.GetNetwork(), now)...)
	out.line("Path", pathLines(s.GetPath())...)
	out.line("Clock", clockLines(s)...)
	out.line("Node", append([]string{nodeLine(s)}, nodeLines(s.GetNode(), now)...)...)
	out.line("Repave", forecastLines(s.GetForecast())...)
	out.line("Operation", operationLines(s.GetOperation(), now)...)
	_, _ = fmt.Fprintln(w)
	writeConditions(w, p, s.GetConditions(), now)
}

func writeConditions(w io.Writer, p painter, conditions []*agentv1.Condition, now time.Time) {
	const row = "%-17s %s %-5s %s\n"
	_, _ = fmt.Fprintf(w, row, "CONDITION", "STATUS ", "FOR", "REASON")
	for _, c := range conditions {
		status := fmt.Sprintf("%-7s", statusName(c.GetStatus()))
		healthy := agent.Healthy(c)
		if healthy {
			status = p.good(status)
		} else {
			status = p.bad(status)
		}
		_, _ = fmt.Fprintf(w, row, c.GetType(), status, age(now.Sub(c.GetSince().AsTime())), c.GetReason())
		for _, line := range wrap(c.GetMessage(), width-2) {
			if healthy {
				line = p.dim(line)
			}
			_, _ = fmt.Fprintf(w, "  %s\n", line)
		}
	}
}

func statusName(s agentv1.ConditionStatus) string {
	name := strings.ToLower(strings.TrimPrefix(s.String(), "CONDITION_STATUS_"))
	return strings.ToUpper(name[:1]) + name[1:]
}

func planeLine(c *localv1.PlaneConnection, now time.Time) string {
	state := "not connected"
	if c.GetConnected() {
		state = "connected"
	}
	text := fmt.Sprintf("%s, %s for %s", c.GetAddress(), state, age(now.Sub(c.GetSince().AsTime())))
	if at := c.GetNextAttemptAt(); at != nil && !c.GetConnected() {
		text += fmt.Sprintf(", next attempt in %s", age(at.AsTime().Sub(now)))
	}
	return text
}

func assignmentLines(a *localv1.AssignmentState) []string {
	lines := []string{"none"}
	if a.GetGeneration() > 0 {
		text := fmt.Sprintf("generation %d, ", a.GetGeneration())
		if a.GetPool() == "" {
			text += "in no pool"
		} else {
			text += fmt.Sprintf("pool %s, cluster %s, Kubernetes %s", a.GetPool(), a.GetCluster(), a.GetKubernetesVersion())
		}
		if a.GetFromCache() {
			text += ", from the cache"
		}
		lines[0] = text
	}
	if a.GetRefusedGeneration() > 0 {
		lines = append(lines, fmt.Sprintf("generation %d was refused:", a.GetRefusedGeneration()))
		for _, r := range a.GetRefusals() {
			lines = append(lines, fmt.Sprintf("- %s: %s", r.GetField(), r.GetReason()))
		}
	}
	return lines
}

func networkLines(n *localv1.NetworkState, now time.Time) []string {
	if n.GetNic() == "" && len(n.GetRoutes()) == 0 {
		return []string{"no NIC selected"}
	}
	text := fmt.Sprintf("%s with node IP %s", or(n.GetNic(), "no NIC"), or(n.GetNodeIp(), "unknown"))
	if n.GetVpnServer() != "" {
		text += ", VPN server " + n.GetVpnServer()
	}
	lines := append([]string{text}, n.GetRoutes()...)
	if n.GetRepairs() > 0 {
		lines = append(lines, fmt.Sprintf("%d repairs, the last %s ago in %s", n.GetRepairs(),
			age(now.Sub(n.GetLastRepairAt().AsTime())), millis(n.GetLastRepairTook().AsDuration())))
	}
	for _, foreign := range n.GetForeignRoutes() {
		lines = append(lines, "not ours: "+foreign)
	}
	lines = append(lines, serverLines(n.GetVpnServers(), now)...)
	return append(lines, trialLines(n, now)...)
}

// serverLines are the VPN servers, where there is a choice or something is wrong.
func serverLines(servers []*localv1.VPNServer, now time.Time) []string {
	var lines []string
	for _, s := range servers {
		if len(servers) == 1 && s.GetError() == "" {
			continue
		}
		text := "standby"
		if s.GetActive() {
			text = "in use"
		}
		switch {
		case s.GetOk():
			text += fmt.Sprintf(", answers in %s", millis(s.GetRtt().AsDuration()))
		case s.GetSince() != nil:
			text += fmt.Sprintf(", silent for %s: %s", age(now.Sub(s.GetSince().AsTime())), s.GetError())
		case s.GetError() != "":
			text += ": " + s.GetError()
		default:
			text += ", not probed yet"
		}
		lines = append(lines, fmt.Sprintf("VPN server %s %s", s.GetAddress(), text))
	}
	return lines
}

// trialLines are the trial under way, and what was rolled back last.
func trialLines(n *localv1.NetworkState, now time.Time) []string {
	var lines []string
	if t := n.GetTrial(); t != nil {
		lines = append(lines, fmt.Sprintf("on trial for another %s: %s (%s); %s", age(t.GetDeadline().AsTime().Sub(now)),
			t.GetChange(), t.GetOrigin(), or(t.GetReason(), "waiting for the plane and the VPC")))
	}
	if t := n.GetRolledBack(); t != nil {
		lines = append(lines, fmt.Sprintf("rolled back %s ago: %s (%s): %s", age(now.Sub(t.GetBeganAt().AsTime())),
			t.GetChange(), t.GetOrigin(), t.GetReason()))
	}
	return lines
}

func pathLines(targets []*localv1.PathTarget) []string {
	if len(targets) == 0 {
		return []string{"not probed"}
	}
	lines := make([]string, 0, len(targets))
	for _, t := range targets {
		verdict := "ok, " + millis(t.GetRtt().AsDuration())
		if !t.GetOk() {
			verdict = t.GetError()
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", t.GetTarget(), t.GetMethod(), verdict))
	}
	return lines
}

func clockLines(s *localv1.Status) []string {
	if len(s.GetTimeServers()) == 0 {
		return []string{"not judged"}
	}
	var lines []string
	if s.GetClockOffset() != nil {
		offset := s.GetClockOffset().AsDuration()
		side := "behind"
		if offset < 0 {
			offset, side = -offset, "ahead"
		}
		lines = append(lines, fmt.Sprintf("%s %s", millis(offset), side))
	}
	for _, t := range s.GetTimeServers() {
		switch {
		case !t.GetOk():
			lines = append(lines, fmt.Sprintf("%s: %s", t.GetServer(), t.GetError()))
		case t.GetFalseticker():
			lines = append(lines, fmt.Sprintf("%s: disagrees with the majority (%s)", t.GetServer(), millis(t.GetOffset().AsDuration())))
		default:
			lines = append(lines, fmt.Sprintf("%s: stratum %d, round trip %s", t.GetServer(), t.GetStratum(), millis(t.GetRtt().AsDuration())))
		}
	}
	return lines
}

func nodeLine(s *localv1.Status) string {
	n := s.GetNode()
	switch {
	case n == nil:
		return "unknown"
	case n.GetAppliedKubernetesVersion() == "":
		return "not provisioned"
	}
	state := "not Ready"
	if n.GetReady() {
		state = "Ready"
	}
	text := fmt.Sprintf("%s, %s, Kubernetes %s", or(n.GetName(), "unnamed"), state, n.GetAppliedKubernetesVersion())
	if s.GetRunner() != "" && s.GetRunner() != "systemd" {
		text += ", operations run without systemd (" + s.GetRunner() + ")"
	}
	return text
}

// nodeLines are what there is to say of a node beside its state: units that do not
// run, certificates, and what is left to do by hand.
func nodeLines(n *localv1.NodeSummary, now time.Time) []string {
	var lines []string
	for _, unit := range n.GetUnits() {
		if !strings.Contains(unit, " active (") {
			lines = append(lines, unit)
		}
	}
	if end := n.GetCertificateExpiresAt(); end != nil {
		text := "certificate for AWS ends in " + age(end.AsTime().Sub(now))
		if at := n.GetCertificateRenewalAt(); at != nil {
			text += ", renewed in " + age(max(at.AsTime().Sub(now), 0))
		}
		lines = append(lines, text)
	}
	if serving := n.GetServingCertificate(); serving != "" && serving != "issued" && serving != "none" {
		lines = append(lines, "serving certificate "+serving)
	}
	if n.GetUnschedulable() {
		lines = append(lines, "cordoned")
	}
	return append(lines, bullets(n.GetRemarks())...)
}

// forecastLines are what a repave would do, where one is required.
func forecastLines(f *agentv1.Forecast) []string {
	if f == nil {
		return nil
	}
	if f.GetRefusal() != "" {
		return []string{"would be refused now: " + f.GetRefusal()}
	}
	text := f.GetPath()
	if f.GetDuration() != nil {
		text += fmt.Sprintf(", about %s, pods away for %s", age(f.GetDuration().AsDuration()), age(f.GetDowntime().AsDuration()))
	}
	return append([]string{text + "; see \"hybrid-agent operation plan\""}, bullets(f.GetReasons())...)
}

// operationLines are the operation that runs or came last, and what became of it
// where it did not succeed.
func operationLines(o *agentv1.OperationProgress, now time.Time) []string {
	if o == nil {
		return []string{"none"}
	}
	state := strings.ToLower(strings.TrimPrefix(o.GetState().String(), "OPERATION_STATE_"))
	text := "one that this host cannot verify, " + state
	if o.GetOperationId() != "" {
		kind := strings.ToLower(strings.TrimPrefix(o.GetKind().String(), "OPERATION_KIND_"))
		text = fmt.Sprintf("%s %s, %s", kind, o.GetOperationId(), state)
	}
	end := o.GetEndedAt()
	if end == nil {
		text += fmt.Sprintf(" at %s, %d %%", or(o.GetStep(), "its start"), o.GetPercent())
		if eta := o.GetEstimatedEndAt(); eta != nil {
			text += fmt.Sprintf(", about %s left", age(max(eta.AsTime().Sub(now), 0)))
		}
		return []string{text}
	}
	lines := []string{text + fmt.Sprintf(" %s ago", age(now.Sub(end.AsTime())))}
	if o.GetState() == agentv1.OperationState_OPERATION_STATE_SUCCEEDED {
		return lines
	}
	if o.GetStep() != "" {
		lines[0] += " at " + o.GetStep()
	}
	return append(lines, o.GetMessage())
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
