package agent

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"hybridagent/agent/path"
	"hybridagent/netcfg"
)

func join(words []string) string { return strings.Join(words, ", ") }

func nicSelected(f *facts) verdict {
	if v, none := unassigned(f); none {
		return v
	}
	if f.net.inventoryErr != nil && len(f.net.candidates) == 0 {
		return unknown("InventoryFailed", "%v", f.net.inventoryErr)
	}
	if f.net.selectErr != nil {
		return no(selectReason(f.net.selectErr), "%v", f.net.selectErr)
	}
	if !f.net.selected {
		return unknown(reasonNotAssigned, "the assignment has no network part")
	}
	n, ours := f.inForce()
	if !ours {
		n = f.asked(f.assignment)
	}
	s := f.net.selection
	reason := "Named"
	if n.selector.Name == "" && n.selector.MAC == "" {
		reason = "Auto"
	}
	return yes(reason, "%s with node IP %s: %s%s%s", s.Link.Name, s.NodeIP, s.Reason, f.movedNote(), f.refusedNote(netcfg.FieldNIC))
}

// movedNote tells of a node whose NIC has another address than kubelet was given.
func (f *facts) movedNote() string {
	former := f.node.state.GetInternalIp()
	if former == "" || former == f.net.selection.NodeIP.String() {
		return ""
	}
	return fmt.Sprintf("; the node is known to the cluster by %s, and kubelet keeps that until a repave: give the NIC that address again, best by a DHCP reservation", former)
}

// selectReason is the code of a selection's refusal.
func selectReason(err error) string {
	var se *netcfg.SelectionError
	if !errors.As(err, &se) {
		return netcfg.NICUnusable
	}
	return se.Code()
}

func routesInstalled(f *facts) verdict {
	if v, none := unassigned(f); none {
		return v
	}
	switch {
	case !f.net.selected && len(f.routes.Installed) > 0:
		return no(reasonNoNIC, "no NIC is selected; the former routes stay: %s", join(f.routeTexts()))
	case !f.net.selected:
		return no(reasonNoNIC, "no NIC is selected, so no route can be installed; see NICSelected")
	case f.net.planErr != nil:
		stay := ""
		if len(f.routes.Installed) > 0 {
			stay = "; the former routes stay: " + join(f.routeTexts())
		}
		return no(planReason(f.net.planErr), "%v%s", f.net.planErr, stay)
	case len(f.routes.Missing) > 0:
		m := f.routes.Missing[0]
		return no("KernelRefused", "cannot install route %s: %v; it is tried again with every change of the network", f.routeText(m.Route), m.Err)
	case f.net.setErr != nil:
		return no("KernelRefused", "%v", f.net.setErr)
	case f.net.notRequired:
		return yes("NotRequired", "no VPN server IP is set: the default gateway is expected to route the VPC CIDRs%s",
			f.refusedNote(netcfg.FieldVPNServers, netcfg.FieldVPCCIDRs))
	}
	if f.trial != nil {
		return unknown("OnTrial", "%s are on trial until %s, then the former network returns: %s",
			join(f.routeTexts()), f.trial.rule.Deadline.UTC().Format(time.RFC3339), orText(f.trial.waits, "the plane is being called"))
	}
	if back := f.record.RolledBack; back != nil && f.record.Confirmed == nil {
		return no("RolledBack", "the network was tried and taken out again: %s; correct it, or try it again with \"hybridctl host retry-network %s\", or \"hybrid-agent network retry\"", back.Reason, f.hostID.ID)
	}
	note := ""
	for _, u := range f.net.unusable {
		note += "; left out: " + u.Error()
	}
	if len(f.routes.Damped) > 0 {
		note += "; " + f.fight(f.routes.Damped[0])
	}
	if len(f.routes.Rules.Missing) > 0 {
		note += fmt.Sprintf("; standby VPN servers cannot be probed: %v", f.routes.Rules.Missing[0].Err)
	}
	if len(f.routes.Foreign) > 0 {
		note += "; routes of others for the same CIDRs stay untouched: " + join(f.foreignTexts())
	}
	if f.frozen() {
		note += "; the assignment's network differs and waits for a repave"
	}
	note += f.refusedNote(netcfg.FieldVPNServers, netcfg.FieldVPCCIDRs)
	return yes("Installed", "%s%s", join(f.routeTexts()), note)
}

// fight names who removes a route again and again, and what to do about it.
func (f *facts) fight(r netcfg.Route) string {
	text := fmt.Sprintf("%s keeps removing %s: ", orText(f.routes.Rival, "something on this host"), f.routeText(r))
	if strings.Contains(f.routes.Rival, "systemd-networkd") {
		return text + "run \"hybrid-agent host-setup networkd\" as root"
	}
	return text + "find it and stop it"
}

// refusedNote tells of a newer assignment that is refused for one of the fields.
func (f *facts) refusedNote(fields ...string) string {
	for _, r := range f.refused.GetRefusals() {
		for _, field := range fields {
			if strings.HasPrefix(r.GetField(), field) {
				return fmt.Sprintf("; generation %d is refused, so that this stays: %s", f.refused.GetGeneration(), r.GetReason())
			}
		}
	}
	return ""
}

// planReason is the code of the first refused value.
func planReason(err error) string {
	for _, fe := range netcfg.FieldErrors(err) {
		return fe.Code
	}
	return "PlanRefused"
}

func pathHealthy(f *facts) verdict {
	if v, none := unassigned(f); none {
		return v
	}
	r := f.path
	p := r.Plan
	switch {
	case !f.assignment.inPool():
		return unknown(reasonNotInPool, "the host is in no NodePool, so nothing is probed")
	case r.Verdict == path.Healthy:
		return yes("Healthy", "the VPC answers through %s%s", p.NIC, pathNotes(r))
	case r.Verdict != path.Unknown:
		return no(r.Verdict.String(), "%s", r.Message)
	case !f.net.selected:
		return unknown(reasonNoNIC, "no NIC is selected, so nothing is probed")
	case p.NIC == "":
		return unknown("Probing", "the path was not probed yet")
	case p.APIEndpoint == "" && len(p.Targets) == 0:
		return unknown(reasonNotConfigured, "the HybridCluster names no API endpoint and no probe target")
	case len(r.Results) == 0:
		return unknown("Probing", "the path was not probed yet")
	}
	return unknown("CannotProbe", "no probe could be sent, since ICMP is off for this process; set net.ipv4.ping_group_range to \"0 2147483647\", or give the HybridCluster an API endpoint or a probe target with a port")
}

// pathNotes is what there is to say of a path that is healthy.
func pathNotes(r path.Report) string {
	note := ""
	if dead := unanswered(r); len(dead) > 0 {
		note += "; no answer from " + join(dead)
	}
	for _, s := range r.Servers {
		if !s.OK && !s.At.IsZero() {
			note += fmt.Sprintf("; the VPN server %s is down: %s", s.Server, s.Error)
		}
	}
	if r.Plan.RouteMTU > 0 {
		note += fmt.Sprintf("; larger packets than %d bytes vanish on the way, so the routes carry that MTU", r.Plan.RouteMTU)
	}
	return note
}

// unanswered lists what failed, with why.
func unanswered(r path.Report) []string {
	var texts []string
	for _, result := range r.Results {
		if !result.OK && !result.Unavailable && len(texts) < 4 {
			texts = append(texts, fmt.Sprintf("%s (%s)", result.Target, result.Error))
		}
	}
	return texts
}

// clockTolerance is how far off the clock may be before TLS and SigV4 are at risk
// soon.
const clockTolerance = time.Second

const measuresOnly = "measured only: hybrid-agent does not steer the clock yet"

func timeSynced(f *facts) verdict {
	if f.assignment == nil || !f.assignment.inPool() {
		if v, none := unassigned(f); none {
			return v
		}
	}
	r := f.time
	switch {
	case len(f.assignment.msg.GetTime().GetNtpServers()) == 0:
		return unknown(reasonNotConfigured, "the NodePool names no NTP servers, so the clock is not judged")
	case r.At.IsZero():
		return unknown("Measuring", "the NTP servers were not asked yet")
	case !r.Measured:
		return no("Unreachable", "none of %d NTP servers gave a usable answer: %s; check the way to them and the NodePool's NTP servers",
			len(r.Servers), r.Servers[0].Error)
	case r.Offset > clockTolerance:
		return no("ClockBehind", "the clock is %s behind %s; %s, so set it or start a time daemon", r.Offset.Round(time.Millisecond), votes(f), measuresOnly)
	case r.Offset < -clockTolerance:
		return no("ClockAhead", "the clock is %s ahead of %s; %s, so set it or start a time daemon", (-r.Offset).Round(time.Millisecond), votes(f), measuresOnly)
	}
	return yes("Synced", "the clock is within %s of %s; %s", clockTolerance, votes(f), measuresOnly)
}

func votes(f *facts) string {
	agree := 0
	for _, s := range f.time.Servers {
		if s.OK && !s.Falseticker {
			agree++
		}
	}
	return fmt.Sprintf("%d of %d NTP servers", agree, len(f.time.Servers))
}
