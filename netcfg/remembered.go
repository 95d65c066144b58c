package netcfg

import (
	"net/netip"
	"slices"
)

// Remembered is what a host keeps of the NIC that it selected, so that it finds
// the same one again after a restart or a new name. It is plain data for a file;
// the zero value remembers nothing.
type Remembered struct {
	// Name and AltNames are the link's names at that time.
	Name     string   `json:"name,omitempty"`
	AltNames []string `json:"altNames,omitempty"`
	// MAC is its hardware address, as Link.MAC.
	MAC string `json:"mac,omitempty"`
	// Kind is its kind, as Link.Kind: it tells a VLAN from its parent, which has
	// the same MAC.
	Kind string `json:"kind,omitempty"`
	// NodeIP is the address that was chosen on it; with SelectionInput.Hold the one
	// that the node has.
	NodeIP netip.Addr `json:"nodeIP,omitzero"`
}

// Remember is what to keep of a selection.
func (s Selection) Remember() Remembered {
	return Remembered{Name: s.Link.Name, AltNames: s.Link.AltNames, MAC: s.Link.MAC, Kind: s.Link.Kind, NodeIP: s.NodeIP}
}

// Equal compares all that is remembered.
func (r Remembered) Equal(o Remembered) bool {
	return r.Name == o.Name && r.MAC == o.MAC && r.Kind == o.Kind && r.NodeIP == o.NodeIP && slices.Equal(r.AltNames, o.AltNames)
}
