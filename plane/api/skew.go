package api

import (
	"strconv"
	"strings"

	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// maxSkew is how many minor versions a kubelet may be older than the API server
// (https://kubernetes.io/releases/version-skew-policy/#kubelet).
const maxSkew = 3

// inSkew refuses a version that no node of the pool's cluster could run: none is
// newer than the API server, so that the newest node is a lower bound of it. The
// server's own version is known on the host only, which checks it.
func (s *Server) inSkew(v *violations, w world, path string, p *planev1.NodePoolSpec) {
	profile := w.get(kind.Profile, store.ProfileName(p.GetProfile(), p.GetProfileVersion()))
	wanted, ok := minor(profile.GetHybridProfile().GetKubernetes().GetVersion())
	if !ok {
		return
	}
	newest, version, host := 0, "", ""
	for _, pool := range w.kind(kind.Pool) {
		if pool.GetNodePool().GetCluster() != p.GetCluster() {
			continue
		}
		for _, h := range pool.GetNodePool().GetHosts() {
			applied := s.fleet.HostStatus(h.GetHostId()).GetHost().GetAppliedKubernetesVersion()
			if m, ok := minor(applied); ok && m > newest {
				newest, version, host = m, applied, h.GetHostId()
			}
		}
	}
	if newest-wanted > maxSkew {
		v.add(path, "Kubernetes %s is outside the skew: host %s of the cluster runs %s, so that its API server is at least 1.%d and takes no kubelet before 1.%d; choose a profile version with 1.%d or newer",
			profile.GetHybridProfile().GetKubernetes().GetVersion(), host, version, newest, newest-maxSkew, newest-maxSkew)
	}
}

// minor is the minor version of 1.31.5: 31.
func minor(version string) (int, bool) {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(parts) < 2 || parts[0] != "1" {
		return 0, false
	}
	n, err := strconv.Atoi(parts[1])
	return n, err == nil
}
