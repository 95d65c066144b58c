package api

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// present is a resource as operators see it: secrets removed, status filled in.
func (s *Server) present(w world, r *planev1.Resource) *planev1.Resource {
	c := proto.CloneOf(r)
	for _, field := range store.SecretFields(c) {
		*field = ""
	}
	switch c.GetKind() {
	case kind.Host:
		if st := s.fleet.HostStatus(c.GetMetadata().GetName()); st != nil {
			// A plane that was restored from a backup may know it from the host alone.
			if known := s.ops.NetworkSwitch(c.GetMetadata().GetName()); known != nil {
				st.NetworkSwitch = known
			}
			c.Status = &planev1.Resource_EdgeHostStatus{EdgeHostStatus: st}
		}
	case kind.Pool:
		st := s.fleet.PoolStatus(c.GetNodePool())
		addRollout(st, s.ops.Rollout(c.GetMetadata().GetName()))
		c.Status = &planev1.Resource_NodePoolStatus{NodePoolStatus: st}
	case kind.Profile:
		c.Status = &planev1.Resource_HybridProfileStatus{HybridProfileStatus: &planev1.HybridProfileStatus{InUse: inUse(w, c)}}
	}
	return c
}

// maxInUse pools are named of those that use a profile version.
const maxInUse = 1000

func inUse(w world, profile *planev1.Resource) []string {
	var out []string
	for _, pool := range w.kind(kind.Pool) {
		if len(out) == maxInUse {
			break
		}
		p := pool.GetNodePool()
		if p.GetProfile() == profile.GetMetadata().GetName() && p.GetProfileVersion() == profile.GetHybridProfile().GetVersion() {
			out = append(out, pool.GetMetadata().GetName())
		}
	}
	return out
}

// sortProfiles orders by name, then by version as numbers.
func sortProfiles(list []*planev1.Resource) {
	slices.SortFunc(list, func(a, b *planev1.Resource) int {
		return cmp.Or(
			cmp.Compare(a.GetMetadata().GetName(), b.GetMetadata().GetName()),
			compareVersions(a.GetHybridProfile().GetVersion(), b.GetHybridProfile().GetVersion()),
		)
	})
}

func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return cmp.Compare(m, n)
	})
}
