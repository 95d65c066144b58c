package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// maxRival bounds NetworkState.last_rival.
const maxRival = 256

// hostStatus is the whole state for the plane; c.mu is held.
func (c *core) hostStatus() *agentv1.HostStatus {
	f := &c.facts
	s := &agentv1.HostStatus{
		Conditions:               c.conditions,
		AppliedNodeDigest:        f.node.state.GetAppliedNodeDigest(),
		AppliedKubernetesVersion: f.node.state.GetAppliedKubernetesVersion(),
		ReadyToProvision:         f.readyToProvision(),
		Routes:                   c.facts.routeTexts(),
		RepaveFields:             f.repaveFields(),
		Runner:                   f.node.state.GetRunner(),
	}
	s.Generation = f.settled().generation()
	if c := f.record.Confirmed; c != nil {
		s.VpnServers = texts(c.VPNServers)
	}
	if f.net.vpnServer.IsValid() {
		s.VpnServer = f.net.vpnServer.String()
	}
	if f.net.selected {
		s.Nic, s.NodeIp = f.net.selection.Link.Name, f.net.selection.NodeIP.String()
	}
	if len(s.RepaveFields) > 0 {
		s.WantedNodeIp, s.Forecast = c.wantedNodeIP(), f.node.forecast
	}
	s.Remarks = f.remarks()
	return s
}

// wantedNodeIP is the address that a repave to the assignment would give the node;
// empty where it stays, or cannot be told. c.mu is held.
func (c *core) wantedNodeIP() string {
	n, differs := c.facts.wantedNetwork(c.facts.assignment)
	if !differs {
		return ""
	}
	looked, _ := c.judge(n)
	if !looked.selected || looked.selection.NodeIP == c.facts.net.selection.NodeIP {
		return ""
	}
	return looked.selection.NodeIP.String()
}

// hello describes the host for a new stream.
func (c *core) hello() *agentv1.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &c.facts
	h := &agentv1.Hello{
		HostId: f.hostID.ID, AgentVersion: c.version, BootId: bootID(), Fingerprint: fingerprintProto(f.hostID.Fingerprint),
	}
	if a := f.settled(); a != nil {
		h.Generation, h.Digest = a.update.GetGeneration(), a.update.GetDigest()
	}
	return h
}

// Status is the whole state for the local API.
func (c *core) Status() *localv1.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &c.facts
	s := &localv1.Status{
		HostId: f.hostID.ID, HostIdSource: f.hostID.Source, Version: c.version, StartedAt: timestamppb.New(c.started),
		Plane: c.planeStatus(), Assignment: c.assignmentStatus(), Network: c.networkStatus(),
		Conditions: c.conditions, Operation: f.operation.latest(), Runner: f.node.state.GetRunner(), Node: nodeSummary(f, c.now()), Forecast: f.node.forecast,
	}
	s.PathSummary = f.pathSummary()
	for _, r := range f.path.Results {
		target := &localv1.PathTarget{Target: r.Target, Method: r.Method, Ok: r.OK, Error: r.Error, At: timestamppb.New(r.At)}
		if r.OK {
			target.Rtt = durationpb.New(r.RTT)
		}
		s.Path = append(s.Path, target)
	}
	for _, t := range f.time.Servers {
		server := &localv1.TimeServer{Server: t.Address, Ok: t.OK, Error: t.Error, Stratum: uint32(t.Stratum), Falseticker: t.Falseticker}
		if t.OK {
			server.Offset, server.Rtt = durationpb.New(t.Offset), durationpb.New(t.RTT)
		}
		s.TimeServers = append(s.TimeServers, server)
	}
	if f.time.Measured {
		s.ClockOffset = durationpb.New(f.time.Offset)
	}
	return s
}

func (c *core) planeStatus() *localv1.PlaneConnection {
	f := &c.facts
	p := &localv1.PlaneConnection{Address: c.plane, Connected: f.session.Connected, Since: timestamppb.New(f.session.Since)}
	if f.session.Since.IsZero() {
		p.Since = timestamppb.New(c.started)
	}
	switch {
	case f.session.LastError != nil:
		p.LastError = f.session.LastError.Error()
	case f.enrollErr != nil:
		p.LastError = f.enrollErr.Error()
	}
	if !f.session.NextAttempt.IsZero() {
		p.NextAttemptAt = timestamppb.New(f.session.NextAttempt)
	}
	if f.identity.Enrolled() {
		p.CertificateExpiresAt = timestamppb.New(f.identity.Certificate.NotAfter)
	}
	return p
}

func (c *core) assignmentStatus() *localv1.AssignmentState {
	f := &c.facts
	a := &localv1.AssignmentState{FromCache: f.fromCache}
	if settled := f.settled(); settled != nil {
		a.Generation, a.Digest = settled.update.GetGeneration(), settled.update.GetDigest()
	}
	if f.assignment != nil {
		a.Pool, a.Cluster = f.assignment.msg.GetPool(), f.assignment.msg.GetNode().GetClusterName()
		a.KubernetesVersion = f.assignment.msg.GetNode().GetKubernetesVersion()
	}
	if f.refused != nil {
		a.RefusedGeneration, a.Refusals = f.refused.GetGeneration(), f.refused.GetRefusals()
	}
	return a
}

func (c *core) networkStatus() *localv1.NetworkState {
	f := &c.facts
	n := &localv1.NetworkState{
		Routes: f.routeTexts(), Repairs: f.routes.Repairs, ForeignRoutes: f.foreignTexts(),
	}
	if f.net.selected {
		n.Nic, n.NicReason = f.net.selection.Link.Name, f.net.selection.Reason
		n.NodeIp = f.net.selection.NodeIP.String()
	}
	if f.net.vpnServer.IsValid() {
		n.VpnServer = f.net.vpnServer.String()
	}
	n.Rules = texts(f.routes.Rules.Installed)
	f.trialStatus(n)
	f.serverStatus(n)
	if last := f.routes.LastRepair; last != nil {
		n.LastRepairAt, n.LastRepairTook = timestamppb.New(last.When), durationpb.New(last.Took)
		n.LastRival = brief(last.Rival, maxRival)
	}
	return n
}

func nodeSummary(f *facts, now time.Time) *localv1.NodeSummary {
	s := f.node.state
	if s == nil {
		return nil
	}
	summary := &localv1.NodeSummary{
		Name: s.GetNodeName(), Ready: nodeReady(f, now).status == agentv1.ConditionStatus_CONDITION_STATUS_TRUE,
		KubeletVersion: s.GetKubeletVersion(), InternalIp: s.GetInternalIp(),
		CertificateExpiresAt: s.GetCertificateExpiresAt(), AppliedKubernetesVersion: s.GetAppliedKubernetesVersion(),
		Units: unitTexts(f.node.units), ServingCertificate: s.GetServingCertificate(), Unschedulable: s.GetUnschedulable(),
		Remarks: f.remarks(),
	}
	if at := renewalOf(s); !at.IsZero() {
		summary.CertificateRenewalAt = timestamppb.New(at)
	}
	return summary
}

// NICs lists every link with the verdict on it, for the local API.
func (c *core) NICs() []*agentv1.NIC {
	c.mu.Lock()
	defer c.mu.Unlock()
	return nicProtos(c.facts.net.candidates)
}

// routeTexts are our routes in the main table; those of the probes are of interest
// to nobody else.
func (f *facts) routeTexts() []string {
	var main []netcfg.Route
	for _, r := range f.routes.Installed {
		if r.Table == netcfg.TableMain {
			main = append(main, r)
		}
	}
	return f.texts(main)
}

func (f *facts) foreignTexts() []string {
	return f.texts(slices.Concat(f.routes.Foreign, f.routes.Unrecorded))
}

func (f *facts) texts(routes []netcfg.Route) []string {
	var texts []string
	for _, r := range routes {
		texts = append(texts, f.routeText(r))
	}
	return texts
}

// routeText writes a route as `ip route` would, with the link's name.
func (f *facts) routeText(r netcfg.Route) string {
	var b strings.Builder
	b.WriteString(r.Dst.String())
	if r.Gateway.IsValid() {
		fmt.Fprintf(&b, " via %s", r.Gateway)
	}
	if r.LinkIndex != 0 {
		fmt.Fprintf(&b, " dev %s", f.linkName(r.LinkIndex))
	}
	if !r.Own() {
		fmt.Fprintf(&b, " proto %d metric %d", r.Protocol, r.Metric)
	}
	if r.Source.IsValid() {
		fmt.Fprintf(&b, " src %s", r.Source)
	}
	if r.Own() && r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", r.MTU)
	}
	return b.String()
}

func (f *facts) linkName(index int) string {
	for _, c := range f.net.candidates {
		if c.Link.Index == index {
			return c.Link.Name
		}
	}
	return fmt.Sprintf("#%d", index)
}
