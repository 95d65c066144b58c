package agent

import (
	"slices"

	"hybridagent/agent/path"
	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// grade is how well the path to the VPC does by the network in force, and whether
// that was measured on the routes that are in the kernel now; c.mu is held.
func (c *core) grade() (netcfg.PathGrade, bool) {
	f := &c.facts
	probes := f.probes()
	if probes.GetApiEndpoint() == "" && len(probes.GetTargets()) == 0 {
		return netcfg.GradeUnknown, true // nothing is to be probed
	}
	report := f.path
	c.facts.routes = c.keeper.Status()
	measured := report.Round > 0 && report.Plan.Routes == f.way() &&
		report.Plan.APIEndpoint == probes.GetApiEndpoint() && slices.Equal(report.Plan.Targets, probes.GetTargets()) &&
		report.Plan.Source == f.net.selection.NodeIP && report.Plan.NIC == f.net.selection.Link.Name
	grade := report.Grade()
	if grade == netcfg.GradeUnknown && measured && !unavailable(report.Results) {
		grade = netcfg.GradeDown // names that do not resolve are no answer of the VPC
	}
	// The first answers say nothing of larger packets.
	return grade, measured && (report.Checked || grade <= netcfg.GradeDown)
}

// probes is what the path stage is to probe: during the trial of an assignment what
// that one wants reached.
func (f *facts) probes() *agentv1.ProbeSpec {
	if f.trial != nil && f.trial.next != nil {
		return f.trial.next.probes()
	}
	return f.assignment.probes()
}

// unavailable says that this host could send none of the probes.
func unavailable(results []path.Result) bool {
	return len(results) > 0 && !slices.ContainsFunc(results, func(r path.Result) bool { return !r.Unavailable })
}
