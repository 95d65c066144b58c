package agent

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func (c *checker) probes(spec *agentv1.ProbeSpec) {
	endpoint := spec.GetApiEndpoint()
	if fits := c.bytes("probes.api_endpoint", endpoint, maxEndpoint); fits && endpoint != "" && !isHostPort(endpoint) {
		c.refuse("probes.api_endpoint", "%q is not host:port; correct the HybridCluster", endpoint)
	}
	if c.each("probes.targets", spec.GetTargets(), maxProbeTargets, maxEndpoint) {
		for i, target := range spec.GetTargets() {
			if addr, err := netip.ParseAddr(target); (err != nil || !addr.Is4()) && !isHostPort(target) {
				c.refuse(fmt.Sprintf("probes.targets[%d]", i), "%q is neither an IPv4 address nor host:port; correct the HybridCluster", target)
			}
		}
	}
	if spec.GetInterval() != nil {
		if gap := spec.GetInterval().AsDuration(); gap != 0 && (gap < leastProbeGap || gap > mostProbeGap) {
			c.refuse("probes.interval", "%s is not between %s and %s", gap, leastProbeGap, mostProbeGap)
		}
	}
}

// probeInterval returns the checked interval or its default.
func probeInterval(spec *agentv1.ProbeSpec) time.Duration {
	if gap := spec.GetInterval().AsDuration(); gap > 0 {
		return gap
	}
	return defaultProbeGap
}

func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	n, numErr := strconv.Atoi(port)
	return err == nil && numErr == nil && n > 0 && n < 65536 && isHost(host)
}

// isHost accepts addresses and DNS names.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return len(host) > 0 && len(host) <= 253 && !strings.ContainsFunc(host, func(r rune) bool {
		return !(r == '-' || r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
}

func (c *checker) time(spec *agentv1.TimeSpec) {
	if !c.each("time.ntp_servers", spec.GetNtpServers(), maxNTPServers, maxEndpoint) {
		return
	}
	for i, server := range spec.GetNtpServers() {
		if !isHost(server) && !isHostPort(server) {
			c.refuse(fmt.Sprintf("time.ntp_servers[%d]", i), "%q is no host name or address; correct the NodePool's NTP servers", server)
		}
	}
}

// node checks what the daemon acts on; root checks the whole node part again
// before it runs anything.
func (c *checker) node(msg *agentv1.Assignment) {
	node := msg.GetNode()
	if node == nil {
		c.refuse("node", "it is missing; the plane must send one for a host in a pool")
		return
	}
	if !isDigest(msg.GetNodeDigest()) {
		c.refuse("node_digest", "%q is not 64 hexadecimal digits", brief(msg.GetNodeDigest(), maxShown))
	}
	if !isVersion(node.GetKubernetesVersion()) {
		c.refuse("node.kubernetes_version", "%q is not major.minor.patch; correct the HybridProfile", brief(node.GetKubernetesVersion(), maxShown))
	}
	c.labels("labels", msg.GetLabels())
	c.taints("taints", msg.GetTaints())
	c.nodeBounds(node)
	c.access(node.GetAccess())
}

// The three below are on the way from a push to the kernel, where compiling a
// regular expression would cost more than all the rest.

func isDigest(text string) bool {
	return len(text) == 64 && !strings.ContainsFunc(text, func(r rune) bool { return !isDigit(r) && (r < 'a' || r > 'f') })
}

func isVersion(text string) bool {
	parts := strings.Split(text, ".")
	return len(parts) == 3 && !slices.ContainsFunc(parts, func(part string) bool {
		return part == "" || len(part) > 4 || strings.ContainsFunc(part, func(r rune) bool { return !isDigit(r) })
	})
}

func isDNSLabel(text string) bool {
	return len(text) >= 1 && len(text) <= 63 && text[0] != '-' && text[len(text)-1] != '-' &&
		!strings.ContainsFunc(text, func(r rune) bool { return r != '-' && !isDigit(r) && (r < 'a' || r > 'z') })
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }
