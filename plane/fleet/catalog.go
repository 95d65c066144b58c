package fleet

import (
	"maps"
	"slices"
	"strings"

	"hybridagent/plane/compile"
	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// catalog holds the resources that assignments are compiled from, by key. It is
// guarded by Fleet.mu; resources in it are never changed, only replaced.
type catalog struct {
	resources map[string]*planev1.Resource
	// poolOf names the pool of each host that is in one.
	poolOf map[string]string
}

func newCatalog() catalog {
	return catalog{resources: map[string]*planev1.Resource{}, poolOf: map[string]string{}}
}

// set stores or, with nil, removes a resource and answers the hosts whose
// assignment it may change.
func (c *catalog) set(key string, r *planev1.Resource) []string {
	of, name, _ := strings.Cut(strings.TrimPrefix(key, store.ResourcePrefix), "/")
	if of != kind.Pool && of != kind.Cluster && of != kind.Profile {
		return nil // tokens and hosts are in no assignment
	}
	old := c.resources[key]
	if r == nil {
		delete(c.resources, key)
	} else {
		c.resources[key] = r
	}
	switch of {
	case kind.Pool:
		return c.setPool(old, r)
	case kind.Cluster:
		return c.hostsOf(func(p *planev1.NodePoolSpec) bool { return p.GetCluster() == name })
	default:
		return c.hostsOf(func(p *planev1.NodePoolSpec) bool { return profileKey(p) == key })
	}
}

func (c *catalog) setPool(old, now *planev1.Resource) []string {
	touched := map[string]bool{}
	for _, h := range old.GetNodePool().GetHosts() {
		touched[h.GetHostId()] = true
		if c.poolOf[h.GetHostId()] == old.GetMetadata().GetName() {
			delete(c.poolOf, h.GetHostId())
		}
	}
	for _, h := range now.GetNodePool().GetHosts() {
		touched[h.GetHostId()] = true
		c.poolOf[h.GetHostId()] = now.GetMetadata().GetName()
	}
	return slices.Collect(maps.Keys(touched))
}

func (c *catalog) hostsOf(uses func(*planev1.NodePoolSpec) bool) []string {
	var out []string
	for _, r := range c.resources {
		if p := r.GetNodePool(); p != nil && uses(p) {
			for _, h := range p.GetHosts() {
				out = append(out, h.GetHostId())
			}
		}
	}
	return out
}

func profileKey(p *planev1.NodePoolSpec) string {
	return store.ResourceKey(kind.Profile, store.ProfileName(p.GetProfile(), p.GetProfileVersion()))
}

// input gathers what a host's assignment is compiled from.
func (c *catalog) input(hostID string) compile.Input {
	in := compile.Input{HostID: hostID}
	pool := c.pool(hostID)
	if pool == nil {
		return in
	}
	in.Pool = pool
	spec := pool.GetNodePool()
	for _, h := range spec.GetHosts() {
		if h.GetHostId() == hostID {
			in.Host = h
		}
	}
	in.Cluster = c.resources[store.ResourceKey(kind.Cluster, spec.GetCluster())]
	in.Profile = c.resources[profileKey(spec)]
	return in
}

// pool answers the pool that a host is in; nil: none.
func (c *catalog) pool(hostID string) *planev1.Resource {
	name, ok := c.poolOf[hostID]
	if !ok {
		return nil
	}
	return c.resources[store.ResourceKey(kind.Pool, name)]
}
