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
	// Former are names that it had before it was renamed, by which the operator may
	// still ask for it.
	Former []string `json:"former,omitempty"`
	// MAC is its hardware address, as Link.MAC.
	MAC string `json:"mac,omitempty"`
	// Kind is its kind, as Link.Kind: it tells a VLAN from its parent, which has
	// the same MAC.
	Kind string `json:"kind,omitempty"`
	// NodeIP is the address that was chosen on it; with SelectionInput.Hold the one
	// that the node has.
	NodeIP netip.Addr `json:"nodeIP,omitzero"`
}

// maxFormer bounds Remembered.Former; the latest are kept.
const maxFormer = 8

// Remember is what to keep of a selection.
func (s Selection) Remember() Remembered {
	return Remembered{
		Name: s.Link.Name, AltNames: s.Link.AltNames, Former: s.former,
		MAC: s.Link.MAC, Kind: s.Link.Kind, NodeIP: s.NodeIP,
	}
}

// Equal compares all that is remembered.
func (r Remembered) Equal(o Remembered) bool {
	return r.Name == o.Name && r.MAC == o.MAC && r.Kind == o.Kind && r.NodeIP == o.NodeIP &&
		slices.Equal(r.AltNames, o.AltNames) && slices.Equal(r.Former, o.Former)
}

// namesLost are the names that the remembered link had and has no more.
func (r Remembered) namesLost(l Link) []string {
	var lost []string
	for _, name := range slices.Concat(r.Former, r.AltNames, []string{r.Name}) {
		if name != "" && !l.HasName(name) && !slices.Contains(lost, name) {
			lost = append(lost, name)
		}
	}
	return lost[max(0, len(lost)-maxFormer):]
}

// hasLink says whether a link is remembered, not an address alone.
func (r Remembered) hasLink() bool { return r.Name != "" || r.MAC != "" }

// answersTo says whether the link was ever asked for by that name, as far as is
// known.
func (r Remembered) answersTo(name string) bool {
	return r.hasName(name) || slices.Contains(r.Former, name)
}

func (r Remembered) hasName(name string) bool {
	return name != "" && (r.Name == name || slices.Contains(r.AltNames, name))
}

// find returns the link that is remembered, however it is called now: the one
// that resembles it most. Of several alike it is the one with the node IP, or
// none: a guess would move the node.
func (r Remembered) find(inv Inventory) (Link, bool) {
	var found []Link
	best := 1
	for _, l := range inv.Links {
		switch like := r.likeness(l); {
		case like > best:
			best, found = like, []Link{l}
		case like == best:
			found = append(found, l)
		}
	}
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(l Link) bool { return !l.HasAddr(r.NodeIP) })
	}
	if len(found) != 1 {
		return Link{}, false
	}
	return found[0], true
}

// likeness says how much a link resembles the remembered one; 0: not at all. A
// MAC counts for more than a name, since an OS upgrade may give the names of two
// NICs to each other. A name alone is still enough: a card was replaced, or a bond
// came up with another port's MAC. The MAC on a link of another kind counts where
// the node IP is there too: a bridge was put over the NIC, or taken away from it.
func (r Remembered) likeness(l Link) int {
	mac := l.hasMAC(r.MAC)
	named := r.hasName(l.Name) || slices.ContainsFunc(l.AltNames, r.hasName)
	kind := r.Kind == "" || r.Kind == l.Kind
	port := l.MasterIndex != 0
	switch {
	case l.Loopback:
		return 0
	case mac && named:
		return 5
	case mac && kind && !port:
		return 4
	case named && kind:
		return 3
	case named:
		return 2
	case mac && !port && l.HasAddr(r.NodeIP):
		return 1
	}
	return 0
}
