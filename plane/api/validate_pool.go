package api

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"hybridagent/plane/fleet"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	maxPoolHosts  = 1000
	maxLabels     = 64
	maxNTPServers = 16
	maxVPNServers = 8
	maxNameBytes  = 63
)

func (r *rules) pool(v *violations, p *planev1.NodePoolSpec) {
	if p.GetCluster() == "" {
		v.add("spec.cluster", "is missing; name a HybridCluster")
	}
	if p.GetProfile() == "" {
		v.add("spec.profile", "is missing; name a HybridProfile")
	}
	v.bytes("spec.cluster", p.GetCluster(), maxNameBytes)
	v.bytes("spec.profile", p.GetProfile(), maxNameBytes)
	if !r.profileVersion.MatchString(p.GetProfileVersion()) {
		v.add("spec.profileVersion", "%q is no version such as 1.0.0", p.GetProfileVersion())
	}
	switch p.GetArchitecture() {
	case "AMD64", "ARM64":
	default:
		v.add("spec.architecture", "%q is neither AMD64 nor ARM64", p.GetArchitecture())
	}
	v.count("spec.labels", len(p.GetLabels()), 0, maxLabels)
	for _, key := range slices.Sorted(maps.Keys(p.GetLabels())) {
		v.check("spec.labels."+key, r.labelKey(key))
		v.check("spec.labels."+key, r.labelText(p.GetLabels()[key]))
	}
	r.taints(v, p.GetTaints())
	v.count("spec.ntpServers", len(p.GetNtpServers()), 0, maxNTPServers)
	for i, s := range p.GetNtpServers() {
		v.check(fmt.Sprintf("spec.ntpServers[%d]", i), r.endpoint(s, false))
	}
	r.poolHosts(v, p.GetHosts())
}

func (r *rules) taints(v *violations, taints []*planev1.TaintSpec) {
	v.count("spec.taints", len(taints), 0, maxLabels)
	seen := map[string]int{}
	for i, t := range taints {
		path := fmt.Sprintf("spec.taints[%d]", i)
		v.check(path+".key", r.labelKey(t.GetKey()))
		v.check(path+".value", r.labelText(t.GetValue()))
		switch t.GetEffect() {
		case "NoSchedule", "PreferNoSchedule", "NoExecute":
		default:
			v.add(path+".effect", "%q is none of NoSchedule, PreferNoSchedule, NoExecute", t.GetEffect())
		}
		id := t.GetKey() + "\x00" + t.GetEffect()
		if first, ok := seen[id]; ok {
			v.add(path, "has key and effect of spec.taints[%d]; Kubernetes keeps one only", first)
			continue
		}
		seen[id] = i
	}
}

func (r *rules) poolHosts(v *violations, hosts []*planev1.PoolHost) {
	v.count("spec.hosts", len(hosts), 0, maxPoolHosts)
	seen := map[string]int{}
	for i, h := range hosts {
		path := fmt.Sprintf("spec.hosts[%d]", i)
		v.check(path+".hostId", fleet.CheckHostID(h.GetHostId()))
		if first, ok := seen[h.GetHostId()]; ok {
			v.add(path+".hostId", "%q is the host of spec.hosts[%d] already", h.GetHostId(), first)
		} else {
			seen[h.GetHostId()] = i
		}
		if len(h.GetHostName()) > 253 {
			v.add(path+".hostName", "has %d characters, at most 253 are allowed", len(h.GetHostName()))
		}
		v.check(path+".nic", nic(h.GetNic()))
		vpnServers(v, path+".vpnServers", h.GetVpnServers())
	}
}

func vpnServers(v *violations, path string, servers []string) {
	v.count(path, len(servers), 0, maxVPNServers)
	seen := map[netip.Addr]bool{}
	for i, s := range servers {
		at := fmt.Sprintf("%s[%d]", path, i)
		addr, err := ipv4(s)
		v.check(at, err)
		if err == nil && seen[addr] {
			v.add(at, "%s is given twice", addr)
		}
		seen[addr] = true
	}
}
