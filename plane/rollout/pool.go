package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hybridagent/plane/kind"
	"hybridagent/plane/store"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

// poolTries bounds the retries of a commit that writes of operators overtook.
const poolTries = 8

// closeSwitch saves the end of a live network switch that succeeded and, in the
// same commit, writes what the host has now into its pool, as that is then.
func (c *Controller) closeSwitch(ctx context.Context, id string, r record) error {
	var err error
	for range poolTries {
		// The guard is read first: a write in between only makes the commit fail.
		guard, writes, remark, readErr := c.poolChange(ctx, id, r.LastSwitch.Switch)
		if readErr != nil {
			return readErr
		}
		o := *r.LastSwitch
		o.Remark = remark
		r.LastSwitch = &o
		next := r
		if err = c.saveWith(ctx, id, &next, guard, writes); !errors.Is(err, store.ErrConflict) {
			return err
		}
		if c.record(id).revision != r.revision {
			return err // the record itself is another
		}
	}
	return err
}

// poolChange is the write of a host's VPN servers into the pool that it is in,
// the guard that nothing changes until it is done, and what is to be said of it.
func (c *Controller) poolChange(ctx context.Context, id string, change *switchOrder) (store.Guard, []store.Write, string, error) {
	guard := store.Guard{Key: store.CatalogKey}
	e, err := c.cfg.Store.Get(ctx, store.CatalogKey)
	switch {
	case err == nil:
		guard.Revision = e.Revision
	case !errors.Is(err, store.ErrNotFound):
		return guard, nil, "", err
	}
	pools, _, err := c.cfg.Store.ListResources(ctx, kind.Pool)
	if err != nil {
		return guard, nil, "", err
	}
	changed, remark := merge(pools, id, change)
	if changed == nil {
		return guard, nil, remark, nil
	}
	write, err := c.cfg.Store.EncodeResource(changed)
	return guard, []store.Write{write, store.CatalogWrite(c.cfg.Now())}, remark, err
}

// merge sets the VPN servers of a host in its pool and answers the pool; nil: it
// stays as it is. An operator who gave the host others while the switch ran has
// the last word.
func merge(pools []*planev1.Resource, id string, change *switchOrder) (*planev1.Resource, string) {
	for _, pool := range pools {
		name := pool.GetMetadata().GetName()
		for _, h := range pool.GetNodePool().GetHosts() {
			if h.GetHostId() != id {
				continue
			}
			switch {
			case slices.Equal(h.GetVpnServers(), change.VPNServers):
				return nil, fmt.Sprintf("NodePool %s has these VPN servers for the host", name)
			case !slices.Equal(h.GetVpnServers(), change.Former):
				return nil, fmt.Sprintf("NodePool %s was given other VPN servers for the host meanwhile (%s) and keeps them; the host takes them over with its next repave, or at once with 'hybridctl host set-vpn --live'",
					name, orNone(h.GetVpnServers()))
			}
			h.VpnServers = change.VPNServers
			return pool, fmt.Sprintf("NodePool %s has these VPN servers for the host now", name)
		}
	}
	return nil, "the host is in no NodePool any more, so that none was changed"
}

func orNone(servers []string) string {
	if len(servers) == 0 {
		return "none"
	}
	return strings.Join(servers, ", ")
}
