package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"hybridagent/agent/store"
	"hybridagent/netcfg"
)

const (
	// NetworkFile is what the daemon remembers of the network: what is confirmed, the
	// trial under way, what was rolled back, and which routes are its own.
	NetworkFile   = "network"
	networkSchema = 1
)

// networkConfig is the network part of an assignment as the record keeps it.
type networkConfig struct {
	NICName    string         `json:"nicName,omitempty"`
	NICMAC     string         `json:"nicMAC,omitempty"`
	VPCCIDRs   []netip.Prefix `json:"vpcCIDRs"`
	VPNServers []netip.Addr   `json:"vpnServers,omitempty"`
	NodeCIDRs  []netip.Prefix `json:"remoteNodeCIDRs"`
}

func (n network) config() *networkConfig {
	return &networkConfig{
		NICName: n.selector.Name, NICMAC: n.selector.MAC,
		VPCCIDRs: n.vpcCIDRs, VPNServers: n.vpnServers, NodeCIDRs: n.nodeCIDRs,
	}
}

// network returns the stages' form; toward is live and comes from elsewhere.
func (c *networkConfig) network(toward []netip.Addr) network {
	return network{
		selector: netcfg.Selector{Name: c.NICName, MAC: c.NICMAC, Auto: c.NICName == "" && c.NICMAC == ""},
		vpcCIDRs: c.VPCCIDRs, vpnServers: c.VPNServers, nodeCIDRs: c.NodeCIDRs, toward: toward,
	}
}

// id tells one network from another: the SHA-256 of what it asks for; empty for
// none.
func (c *networkConfig) id() string {
	if c == nil {
		return ""
	}
	text, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// networkRecord is the file's content. It is written before the kernel is, so that
// a restart at any moment finds the way back.
type networkRecord struct {
	// Confirmed is in force whenever no trial runs; nil: no route of ours is to be in
	// the kernel.
	Confirmed *networkConfig `json:"confirmed,omitempty"`
	// Trial is under way; found at a start, it was cut off and is rolled back.
	Trial *trialRecord `json:"trial,omitempty"`
	// RolledBack is not tried again before it changes or somebody asks.
	RolledBack *rolledBack `json:"rolledBack,omitempty"`
	// Switched is a live switch of the VPN servers that holds on.
	Switched *switchedServers `json:"switched,omitempty"`
	// Switch is the last live switch that came, so that none runs twice.
	Switch *switchEnd `json:"switch,omitempty"`
	// Moved says that what is confirmed was brought by an operation whose node part is
	// not in force yet.
	Moved *movedNetwork `json:"moved,omitempty"`
	// Generation is that of the assignment which brought what is confirmed; 0: none
	// did. A cached assignment that is older was not replaced yet when power was cut.
	Generation uint64 `json:"generation,omitempty"`
	// Owned are the routes that this daemon has written, or was about to.
	Owned []netcfg.RouteID `json:"owned,omitempty"`
}

// trialRecord is a trial on disk.
type trialRecord struct {
	Network *networkConfig `json:"network"`
	// Generation of the assignment that brought it; 0: a live switch did.
	Generation uint64 `json:"generation,omitempty"`
	// Operation is that of a repave which brought it; empty: none did.
	Operation string `json:"operation,omitempty"`
	// First says that nothing was confirmed before.
	First bool `json:"first,omitempty"`
	// NIC is what was selected before.
	NIC netcfg.Remembered `json:"nic"`
	// Server is the VPN server that was in use before; invalid: none.
	Server  netip.Addr `json:"server,omitzero"`
	BeganAt time.Time  `json:"beganAt"`
}

// rolledBack is a network that a trial has found to be no good.
type rolledBack struct {
	Network    *networkConfig `json:"network"`
	Generation uint64         `json:"generation,omitempty"`
	Reason     string         `json:"reason"`
	At         time.Time      `json:"at"`
}

// switchedServers replace the VPN servers of one network, whoever asks for it: of
// the assignment that a node was made from, until a repave or an assignment brings
// another.
type switchedServers struct {
	Over       string       `json:"over"` // id of the network whose servers they replace
	VPNServers []netip.Addr `json:"vpnServers"`
	// NodeDigest is that of the first assignment whose difference from the node the
	// switch explains; any other may differ in what no field shows.
	NodeDigest string `json:"nodeDigest,omitempty"`
}

// switchEnd is a live switch and how it ended.
type switchEnd struct {
	ID      string    `json:"id"`
	Epoch   uint64    `json:"epoch"`
	Counter uint64    `json:"counter"`
	State   int32     `json:"state"` // agentv1.OperationState; 0: cut off, or under way
	Message string    `json:"message,omitempty"`
	BeganAt time.Time `json:"beganAt"`
	EndedAt time.Time `json:"endedAt"`
}

// owns says whether every one of the routes is in the record.
func (r *networkRecord) owns(ids []netcfg.RouteID) bool {
	return !slices.ContainsFunc(ids, func(id netcfg.RouteID) bool { return !slices.Contains(r.Owned, id) })
}

// own adds to what the record holds.
func (r *networkRecord) own(ids []netcfg.RouteID) {
	for _, id := range ids {
		if !slices.Contains(r.Owned, id) {
			r.Owned = append(r.Owned, id)
		}
	}
}

// clone returns a copy whose fields can be set without changing the original's.
func (r *networkRecord) clone() *networkRecord {
	next := *r
	next.Owned = slices.Clone(r.Owned)
	return &next
}

// loadNetwork returns the record; nil without an error where there is none.
func (c cache) loadNetwork() (*networkRecord, error) {
	payload, err := store.ReadOrSetAside(c.path(NetworkFile), networkSchema)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	r := &networkRecord{}
	if err := json.Unmarshal(payload, r); err != nil {
		return nil, fmt.Errorf("cannot parse %s: %w", c.path(NetworkFile), err)
	}
	return r, nil
}

func (c cache) saveNetwork(r *networkRecord) error {
	payload, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", NetworkFile, err)
	}
	return store.Write(c.path(NetworkFile), networkSchema, payload)
}
