package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"google.golang.org/protobuf/proto"

	"hybridagent/netcfg"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds that assignment.proto states.
const (
	maxCIDRs          = 16
	maxVPNServers     = 8
	maxProbeTargets   = 16
	maxNTPServers     = 16
	maxLabels         = 64
	maxInterfaceName  = 127
	leastProbeGap     = 5 * time.Second
	mostProbeGap      = 10 * time.Minute
	defaultProbeGap   = 30 * time.Second
	maxRefusals       = 32
	defaultTargetPort = "443"
)

// assignment is one that was checked: the bytes as they came, the message, and
// its network part in the types that the stages use.
type assignment struct {
	update  *agentv1.AssignmentUpdate
	msg     *agentv1.Assignment
	network network
}

// network is the network part of an assignment.
type network struct {
	selector   netcfg.Selector
	vpcCIDRs   []netip.Prefix
	vpnServers []netip.Addr
	nodeCIDRs  []netip.Prefix
	toward     []netip.Addr // literal addresses among API endpoint
	move       bool         // the node may go to another NIC: an operation brings it there
}

// first is the VPN server that comes first; invalid where there is none.
func (n network) first() netip.Addr {
	if len(n.vpnServers) == 0 {
		return netip.Addr{}
	}
	return n.vpnServers[0]
}

// probes is what the path stage is to probe; empty without an assignment.
func (a *assignment) probes() *agentv1.ProbeSpec {
	if a == nil {
		return nil
	}
	return a.msg.GetProbes()
}

func (a *assignment) inPool() bool { return a != nil && a.msg.GetPool() != "" }

// architectureOf returns a GOARCH in the assignment's terms.
func architectureOf(goarch string) agentv1.Architecture {
	switch goarch {
	case "amd64":
		return agentv1.Architecture_ARCHITECTURE_AMD64
	case "arm64":
		return agentv1.Architecture_ARCHITECTURE_ARM64
	}
	return agentv1.Architecture_ARCHITECTURE_UNSPECIFIED
}

// checkAssignment re-validates what the plane sent; an empty host ID is not
// compared (the cached assignment was compared when it came). With refusals there
// is no assignment.
func checkAssignment(update *agentv1.AssignmentUpdate, hostID string) (*assignment, []*agentv1.FieldRefusal) {
	c := &checker{}
	if size := len(update.GetAssignment()); size > agentv1.MaxAssignmentBytes {
		c.refuse("assignment", "%d bytes, at most %d are taken; shorten the profile's kubelet and containerd configuration", size, agentv1.MaxAssignmentBytes)
		return nil, c.refusals
	}
	if update.GetGeneration() == 0 {
		c.refuse("generation", "0 is no generation")
	}
	sum := sha256.Sum256(update.GetAssignment())
	if have := hex.EncodeToString(sum[:]); have != update.GetDigest() {
		c.refuse("digest", "%q, but the bytes that came have %q; the plane sends it again", brief(update.GetDigest(), maxShown), have)
		return nil, c.refusals
	}
	msg := &agentv1.Assignment{}
	if err := proto.Unmarshal(update.GetAssignment(), msg); err != nil {
		c.refuse("assignment", "it cannot be parsed: %v; upgrade the agent if the plane is newer", err)
		return nil, c.refusals
	}
	if hostID != "" && msg.GetHostId() != hostID {
		c.refuse("host_id", "%q is another host; this is %q", brief(msg.GetHostId(), maxHostID), hostID)
	} else {
		c.bytes("host_id", msg.GetHostId(), maxHostID)
	}
	a := &assignment{update: update, msg: msg}
	if msg.GetPool() != "" {
		c.bytes("pool", msg.GetPool(), maxPool)
		a.network = c.network(msg)
		c.architecture(msg.GetArchitecture())
		c.probes(msg.GetProbes())
		c.time(msg.GetTime())
		c.node(msg)
	}
	if len(c.refusals) > 0 {
		return nil, c.refusals[:min(len(c.refusals), maxRefusals)]
	}
	return a, nil
}

// checker collects refusals.
type checker struct{ refusals []*agentv1.FieldRefusal }

func (c *checker) refuse(field, format string, args ...any) {
	c.refusals = append(c.refusals, &agentv1.FieldRefusal{Field: field, Reason: fmt.Sprintf(format, args...)})
}

func (c *checker) atMost(field string, have, most int) bool {
	if have > most {
		c.refuse(field, "%d entries, at most %d are taken", have, most)
	}
	return have <= most
}

func (c *checker) architecture(want agentv1.Architecture) {
	have := architectureOf(runtime.GOARCH)
	if want != agentv1.Architecture_ARCHITECTURE_UNSPECIFIED && want != have {
		c.refuse("architecture", "the NodePool is for %s, this host is %s; put the host into a pool of its architecture",
			archName(want), runtime.GOARCH)
	}
}

func archName(a agentv1.Architecture) string {
	switch a {
	case agentv1.Architecture_ARCHITECTURE_AMD64:
		return "amd64"
	case agentv1.Architecture_ARCHITECTURE_ARM64:
		return "arm64"
	}
	return a.String()
}

func (c *checker) network(msg *agentv1.Assignment) network {
	spec := msg.GetNetwork()
	n := network{
		vpcCIDRs:  c.cidrs("network.vpc_cidrs", spec.GetVpcCidrs(), true),
		nodeCIDRs: c.cidrs("network.remote_node_cidrs", spec.GetRemoteNodeCidrs(), true),
		selector:  c.selector(spec.GetNic()),
	}
	pods := c.cidrs("network.remote_pod_cidrs", spec.GetRemotePodCidrs(), false)
	if service := spec.GetServiceCidr(); service != "" {
		pods = append(pods, c.cidrs("network.service_cidr", []string{service}, false)...)
	}
	c.disjoint(n.vpcCIDRs, append(pods, n.nodeCIDRs...))
	if c.each("network.vpn_servers", spec.GetVpnServers(), maxVPNServers, maxAddrText) {
		for i, text := range spec.GetVpnServers() {
			addr, err := netip.ParseAddr(text)
			if err != nil || !addr.Is4() || addr.IsMulticast() || addr.IsUnspecified() || addr.IsLoopback() {
				c.refuse(fmt.Sprintf("network.vpn_servers[%d]", i), "%q is no IPv4 unicast address; correct the host's VPN server IP in the NodePool", text)
				continue
			}
			n.vpnServers = append(n.vpnServers, addr)
		}
	}
	if host, _, err := net.SplitHostPort(msg.GetProbes().GetApiEndpoint()); err == nil {
		if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
			n.toward = append(n.toward, addr)
		}
	}
	return n
}

func (c *checker) selector(nic *agentv1.NICSelector) netcfg.Selector {
	s := netcfg.Selector{Name: nic.GetName(), MAC: nic.GetMac(), Auto: nic.GetName() == "" && nic.GetMac() == ""}
	if len(s.Name) > maxInterfaceName {
		c.refuse("network.nic.name", "%d bytes, at most %d fit an interface name", len(s.Name), maxInterfaceName)
	}
	if _, err := net.ParseMAC(s.MAC); c.bytes("network.nic.mac", s.MAC, maxMACText) && s.MAC != "" && err != nil {
		c.refuse("network.nic.mac", "%q is no MAC address; correct the host's NIC in the NodePool", s.MAC)
	}
	return s
}

func (c *checker) cidrs(field string, texts []string, required bool) []netip.Prefix {
	if required && len(texts) == 0 {
		c.refuse(field, "none is given, at least one is needed; correct the HybridCluster")
	}
	if !c.each(field, texts, maxCIDRs, maxCIDRText) {
		return nil
	}
	out := make([]netip.Prefix, 0, len(texts))
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil || !p.Addr().Is4():
			c.refuse(fmt.Sprintf("%s[%d]", field, i), "%q is no IPv4 CIDR; correct the HybridCluster", text)
		case p != p.Masked():
			c.refuse(fmt.Sprintf("%s[%d]", field, i), "%q has host bits set, the network is %s; correct the HybridCluster", text, p.Masked())
		case p.Bits() < 8:
			c.refuse(fmt.Sprintf("%s[%d]", field, i), "%q is wider than /8; correct the HybridCluster", text)
		default:
			out = append(out, p)
		}
	}
	return out
}

func (c *checker) disjoint(vpc, others []netip.Prefix) {
	for i, v := range vpc {
		for _, o := range others {
			if v.Overlaps(o) {
				c.refuse(fmt.Sprintf("network.vpc_cidrs[%d]", i), "%s overlaps %s of the hosts, pods or services; correct the HybridCluster", v, o)
			}
		}
	}
}
