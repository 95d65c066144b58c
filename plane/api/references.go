package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hybridagent/plane/compile"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// world is every resource at one revision, by key.
type world map[string]*planev1.Resource

func (w world) get(of, name string) *planev1.Resource { return w[store.ResourceKey(of, name)] }

// kind answers the resources of a kind, ordered by key.
func (w world) kind(of string) []*planev1.Resource {
	var keys []string
	for k := range w {
		if strings.HasPrefix(k, store.ResourceKey(of, "")) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	out := make([]*planev1.Resource, 0, len(keys))
	for _, k := range keys {
		out = append(out, w[k])
	}
	return out
}

// pool checks a pool against what it refers to and against the other pools.
func (s *Server) crossCheckPool(v *violations, w world, r *planev1.Resource) {
	p := r.GetNodePool()
	cluster := w.get(kind.Cluster, p.GetCluster())
	if cluster == nil {
		v.add("spec.cluster", "HybridCluster %q does not exist", p.GetCluster())
	}
	if w.get(kind.Profile, store.ProfileName(p.GetProfile(), p.GetProfileVersion())) == nil {
		v.add("spec.profileVersion", "%s", missingProfile(w, p))
	}
	s.inSkew(v, w, "spec.profileVersion", p)
	s.keepsCluster(v, w, r)
	taken := map[string]string{}
	for _, other := range w.kind(kind.Pool) {
		if other.GetMetadata().GetName() == r.GetMetadata().GetName() {
			continue
		}
		for _, h := range other.GetNodePool().GetHosts() {
			taken[h.GetHostId()] = other.GetMetadata().GetName()
		}
	}
	for i, h := range p.GetHosts() {
		path := fmt.Sprintf("spec.hosts[%d]", i)
		if pool, ok := taken[h.GetHostId()]; ok {
			v.add(path+".hostId", "host %s is in NodePool %s already; a host is in one pool at most", h.GetHostId(), pool)
		}
		if cluster != nil {
			s.hostInCluster(v, path, cluster.GetHybridCluster(), h)
		}
		s.hostHasNIC(v, path, h)
		s.hostHasArchitecture(v, path, p.GetArchitecture(), h)
	}
}

// keepsCluster: a pool whose hosts are nodes stays with its cluster, since all of
// them would have to leave it at once.
func (s *Server) keepsCluster(v *violations, w world, r *planev1.Resource) {
	old := w.get(kind.Pool, r.GetMetadata().GetName()).GetNodePool()
	if old == nil || old.GetCluster() == r.GetNodePool().GetCluster() {
		return
	}
	for _, h := range old.GetHosts() {
		if s.fleet.HostStatus(h.GetHostId()).GetHost().GetAppliedNodeDigest() != "" {
			v.add("spec.cluster", "host %s is a node of cluster %s; take the pool's hosts out of it first, and add them again once they have left", h.GetHostId(), old.GetCluster())
			return
		}
	}
}

func missingProfile(w world, p *planev1.NodePoolSpec) string {
	var versions []string
	for _, r := range w.kind(kind.Profile) {
		if r.GetMetadata().GetName() == p.GetProfile() {
			versions = append(versions, r.GetHybridProfile().GetVersion())
		}
	}
	if len(versions) == 0 {
		return fmt.Sprintf("HybridProfile %q does not exist", p.GetProfile())
	}
	return fmt.Sprintf("HybridProfile %q has no version %q; it has %s", p.GetProfile(), p.GetProfileVersion(), strings.Join(versions, ", "))
}

// hostInCluster: the name of a Roles Anywhere node is the host ID, and nodeadm
// checks no name; and a VPN server inside the VPC could be reached only through
// itself.
func (s *Server) hostInCluster(v *violations, path string, c *planev1.HybridClusterSpec, h *planev1.PoolHost) {
	if c.GetAccessManagement().GetIamRolesAnywhere() != nil && !s.rules.label.MatchString(h.GetHostId()) {
		v.add(path+".hostId", "host ID %q cannot be a node name, which IAM Roles Anywhere asks for: it must be a lowercase DNS label of at most 63 characters; enrol the host under another ID", h.GetHostId())
	}
	serversOutsideVPC(v, path+".vpnServers", c, h.GetVpnServers())
}

func serversOutsideVPC(v *violations, path string, c *planev1.HybridClusterSpec, servers []string) {
	for i, server := range servers {
		addr, err := ipv4(server)
		if err != nil {
			continue
		}
		for _, text := range c.GetVpcCidrs() {
			if p, err := netip.ParsePrefix(text); err == nil && p.Contains(addr) {
				v.add(fmt.Sprintf("%s[%d]", path, i), "%s lies inside VPC CIDR %s, which is to be reached through it; give the VPN server's address on the site's network", addr, p)
			}
		}
	}
}

// hostHasNIC checks a NIC by name against what the host reported; a host that
// has not reported yet will check it itself.
func (s *Server) hostHasNIC(v *violations, path string, h *planev1.PoolHost) {
	nics := s.fleet.HostStatus(h.GetHostId()).GetInventory().GetNics()
	if h.GetNic() == "" || h.GetNic() == compile.NICAuto || len(nics) == 0 {
		return
	}
	names := make([]string, 0, len(nics))
	for _, n := range nics {
		if n.GetName() == h.GetNic() || strings.EqualFold(n.GetMac(), h.GetNic()) || slices.Contains(n.GetAltnames(), h.GetNic()) {
			return
		}
		names = append(names, n.GetName())
	}
	v.add(path+".nic", "host %s has no NIC %q; it reported %s", h.GetHostId(), h.GetNic(), strings.Join(names, ", "))
}

func (s *Server) hostHasArchitecture(v *violations, path, want string, h *planev1.PoolHost) {
	have := s.fleet.HostStatus(h.GetHostId()).GetInventory().GetArchitecture()
	if have == agentv1.Architecture_ARCHITECTURE_UNSPECIFIED {
		return
	}
	if name := strings.TrimPrefix(have.String(), "ARCHITECTURE_"); name != want {
		v.add(path+".hostId", "host %s is %s, but the pool is %s", h.GetHostId(), name, want)
	}
}

// crossCheckCluster keeps what pools rely on: a host ID that a change to Roles
// Anywhere would turn into a node name.
func (s *Server) crossCheckCluster(v *violations, w world, r *planev1.Resource) {
	for _, pool := range w.kind(kind.Pool) {
		if pool.GetNodePool().GetCluster() != r.GetMetadata().GetName() {
			continue
		}
		for _, h := range pool.GetNodePool().GetHosts() {
			inner := &violations{}
			s.hostInCluster(inner, "", r.GetHybridCluster(), h)
			for _, f := range inner.list {
				v.add("spec", "NodePool %s: %s", pool.GetMetadata().GetName(), f.GetDescription())
			}
		}
	}
}

// users names what keeps a resource from being deleted.
func users(w world, r *planev1.Resource) []string {
	var out []string
	name := r.GetMetadata().GetName()
	for _, pool := range w.kind(kind.Pool) {
		p, at := pool.GetNodePool(), "NodePool "+pool.GetMetadata().GetName()
		switch r.GetKind() {
		case kind.Cluster:
			if p.GetCluster() == name {
				out = append(out, at)
			}
		case kind.Profile:
			if p.GetProfile() == name && p.GetProfileVersion() == r.GetHybridProfile().GetVersion() {
				out = append(out, at)
			}
		case kind.Host:
			if slices.ContainsFunc(p.GetHosts(), func(h *planev1.PoolHost) bool { return h.GetHostId() == name }) {
				out = append(out, at)
			}
		}
	}
	return out
}
