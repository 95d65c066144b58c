package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"hybridagent/agent/path"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	localv1 "hybridagent/proto/hybrid/local/v1"
)

// Source is the state that is shown.
type Source interface {
	Status() *localv1.Status
	// Connects counts streams that the plane welcomed since start.
	Connects() uint64
}

// collector turns one Status into metrics at each scrape.
type collector struct {
	source Source

	build, condition, repairs, repairSeconds, repairAt, routes *prometheus.Desc
	onTrial, rolledBack, vpnActive                             *prometheus.Desc
	offset, serverOffset, serverUp                             *prometheus.Desc
	probe, probeRTT, verdict, pathMTU, vpnServer               *prometheus.Desc
	connected, connects, certificate, generation, operation    *prometheus.Desc
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("hybrid_agent_"+name, help, labels, nil)
}

func newCollector(source Source) *collector {
	return &collector{
		source:        source,
		build:         desc("build_info", "Always 1; the labels say which build runs.", "version", "goversion", "goarch"),
		condition:     desc("condition", "Whether the condition has this status: 1 for the one it has, 0 for the others.", "type", "status"),
		repairs:       desc("route_repairs_total", "Routes that were put back since the daemon started."),
		repairSeconds: desc("route_last_repair_seconds", "How long the last repair took from the kernel's event to the route's return."),
		repairAt:      desc("route_last_repair_timestamp_seconds", "When the last repair was, in seconds since 1970."),
		routes:        desc("routes_installed", "Routes of the agent in the kernel."),
		probe:         desc("path_probe_success", "Whether the last probe of the target was answered.", "target", "method"),
		probeRTT:      desc("path_probe_rtt_seconds", "Round-trip time of the last answer of the target.", "target", "method"),
		verdict:       desc("path_verdict", "Whether the verdict on the way to the VPC names this segment as broken; segment none: the way is healthy.", "segment"),
		pathMTU:       desc("path_mtu_bytes", "Size of the largest packet that the way to the VPC carries."),
		vpnServer:     desc("vpn_server_up", "Whether the last probe through the VPN server was answered.", "server"),
		onTrial:       desc("network_on_trial", "Whether a change of the network is on trial."),
		rolledBack:    desc("network_rolled_back", "Whether a change of the network was rolled back and waits for another, or for somebody to retry it."),
		vpnActive:     desc("vpn_server_active", "Whether the routes lead through the VPN server.", "server"),
		offset:        desc("clock_offset_seconds", "What to add to the clock to agree with the NTP servers."),
		serverOffset:  desc("ntp_server_offset_seconds", "What to add to the clock to agree with the server.", "server"),
		serverUp:      desc("ntp_server_up", "Whether the server's last answer was usable and agrees with the majority.", "server"),
		connected:     desc("session_connected", "Whether the stream to the plane is open."),
		connects:      desc("session_connects_total", "Streams that the plane has welcomed since the daemon started."),
		certificate:   desc("certificate_expiry_timestamp_seconds", "End of the host certificate's validity, in seconds since 1970."),
		generation:    desc("assignment_generation", "Generation of the assignment in force; 0: none."),
		operation:     desc("operation_running", "Whether an operation runs.", "kind"),
	}
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.build, c.condition, c.repairs, c.repairSeconds, c.repairAt, c.routes, c.probe, c.probeRTT, c.verdict, c.pathMTU, c.vpnServer,
		c.onTrial, c.rolledBack, c.vpnActive, c.offset,
		c.serverOffset, c.serverUp, c.connected, c.connects, c.certificate, c.generation, c.operation,
	} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.source.Status()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value)
	}
	gauge(c.build, 1, s.GetVersion(), runtime.Version(), runtime.GOARCH)
	for _, condition := range s.GetConditions() {
		for status, name := range map[agentv1.ConditionStatus]string{
			agentv1.ConditionStatus_CONDITION_STATUS_TRUE: "true", agentv1.ConditionStatus_CONDITION_STATUS_FALSE: "false",
			agentv1.ConditionStatus_CONDITION_STATUS_UNKNOWN: "unknown",
		} {
			gauge(c.condition, truth(condition.GetStatus() == status), condition.GetType(), name)
		}
	}
	counter(c.repairs, float64(s.GetNetwork().GetRepairs()))
	if at := s.GetNetwork().GetLastRepairAt(); at != nil {
		gauge(c.repairSeconds, s.GetNetwork().GetLastRepairTook().AsDuration().Seconds())
		gauge(c.repairAt, float64(at.AsTime().UnixNano())/1e9)
	}
	gauge(c.routes, float64(len(s.GetNetwork().GetRoutes())))
	gauge(c.onTrial, truth(s.GetNetwork().GetTrial() != nil))
	gauge(c.rolledBack, truth(s.GetNetwork().GetRolledBack() != nil))
	c.collectPath(s, gauge)
	c.collectTime(s, gauge)
	gauge(c.connected, truth(s.GetPlane().GetConnected()))
	counter(c.connects, float64(c.source.Connects()))
	if end := s.GetPlane().GetCertificateExpiresAt(); end != nil {
		gauge(c.certificate, float64(end.AsTime().Unix()))
	}
	gauge(c.generation, float64(s.GetAssignment().GetGeneration()))
	for _, condition := range s.GetConditions() {
		if condition.GetType() == "OperationRunning" {
			running := condition.GetStatus() == agentv1.ConditionStatus_CONDITION_STATUS_TRUE
			gauge(c.operation, truth(running), kind(s.GetOperation().GetKind()))
		}
	}
}

// collectPath shows what the path stage measured. A target that is probed twice
// under one name would make the scrape fail: the first counts.
func (c *collector) collectPath(s *localv1.Status, gauge func(*prometheus.Desc, float64, ...string)) {
	seen := map[string]bool{}
	for _, t := range s.GetPath() {
		if key := t.GetMethod() + " " + t.GetTarget(); !seen[key] {
			seen[key] = true
			gauge(c.probe, truth(t.GetOk()), t.GetTarget(), t.GetMethod())
			if t.GetOk() {
				gauge(c.probeRTT, t.GetRtt().AsDuration().Seconds(), t.GetTarget(), t.GetMethod())
			}
		}
	}
	for _, v := range s.GetNetwork().GetVpnServers() {
		if key := "vpn " + v.GetAddress(); !seen[key] {
			seen[key] = true
			gauge(c.vpnServer, truth(v.GetOk()), v.GetAddress())
			gauge(c.vpnActive, truth(v.GetActive()), v.GetAddress())
		}
	}
	summary := s.GetPathSummary()
	if summary == nil {
		return
	}
	healthy := summary.GetSegment() == "" && summary.GetVerdict() == path.Healthy.String()
	gauge(c.verdict, truth(healthy), "none")
	for _, segment := range path.Segments() {
		gauge(c.verdict, truth(summary.GetSegment() == string(segment)), string(segment))
	}
	if summary.GetPathMtu() > 0 {
		gauge(c.pathMTU, float64(summary.GetPathMtu()))
	}
}

// collectTime shows what the time stage measured; of a server that is named twice
// the first answer counts.
func (c *collector) collectTime(s *localv1.Status, gauge func(*prometheus.Desc, float64, ...string)) {
	seen := map[string]bool{}
	for _, t := range s.GetTimeServers() {
		if key := "ntp " + t.GetServer(); !seen[key] {
			seen[key] = true
			gauge(c.serverUp, truth(t.GetOk() && !t.GetFalseticker()), t.GetServer())
			if t.GetOk() {
				gauge(c.serverOffset, t.GetOffset().AsDuration().Seconds(), t.GetServer())
			}
		}
	}
	if s.GetClockOffset() != nil {
		gauge(c.offset, s.GetClockOffset().AsDuration().Seconds())
	}
}

func kind(k agentv1.OperationKind) string {
	if k == agentv1.OperationKind_OPERATION_KIND_PROVISION {
		return "provision"
	}
	return "none"
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
