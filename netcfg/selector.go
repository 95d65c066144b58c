package netcfg

import (
	"net"
	"slices"
	"strings"
)

// Selector says which NIC is wanted. Exactly one of the three is used: Name
// (name or altname) wins over MAC, MAC over Auto. The zero value means Auto.
type Selector struct {
	Auto bool
	Name string
	MAC  string
}

// String renders the selector for messages: auto, a name or a MAC.
func (s Selector) String() string {
	switch {
	case s.Name != "":
		return s.Name
	case s.MAC != "":
		return s.MAC
	}
	return "auto"
}

func (s Selector) auto() bool { return s.Name == "" && s.MAC == "" }

func (s Selector) what() string {
	if s.Name != "" {
		return "name"
	}
	return "MAC address"
}

// survey is a selection under way: the host and the input, and what follows from
// them before any link is judged.
type survey struct {
	inv Inventory
	in  SelectionInput
	// wanted are the links that a name or MAC means, by index, each with a reason
	// that says how.
	wanted map[int]string
	// sticky is the index of the link that was selected before, whatever it is
	// called now; 0: it is not on the host.
	sticky int
	// toward are the links by which the routes towards the addresses of in.Toward
	// leave; 0: there is no route.
	toward []int
}

func newSurvey(inv Inventory, in SelectionInput) *survey {
	inv.Links = slices.Clone(inv.Links)
	slices.SortFunc(inv.Links, func(a, b Link) int { return a.Index - b.Index })
	s := &survey{inv: inv, in: in, wanted: make(map[int]string)}
	if l, ok := in.Sticky.find(inv); ok {
		s.sticky = inv.upper(l).Index
	}
	s.findRoutes()
	switch {
	case in.Selector.Name != "":
		s.wantName()
	case in.Selector.MAC != "":
		s.wantMAC()
	}
	return s
}

// findRoutes looks for the routes towards the API and the plane, once for all
// links: a host may have ten thousand routes. Ours are left out: they follow from
// a choice that was made before and must not speak for it.
func (s *survey) findRoutes() {
	if len(s.in.Toward) == 0 {
		return
	}
	others := s.inv
	others.Routes = slices.DeleteFunc(slices.Clone(others.Routes), Route.Own)
	for _, a := range s.in.Toward {
		r, _ := others.RouteTo(a)
		s.toward = append(s.toward, r.LinkIndex)
	}
}

// means says whether a link is one that the selector speaks of.
func (s *survey) means(l Link) bool {
	_, ok := s.wanted[l.Index]
	return ok || s.in.Selector.auto()
}

// wantName finds a link by name or altname. Where an OS upgrade has renamed the
// link that was selected by that name, its MAC leads to it.
func (s *survey) wantName() {
	name := s.in.Selector.Name
	l, ok := s.inv.LinkByName(name)
	how := "named by " + name
	if former, known := s.formerly(name); known && (!ok || s.keepsNode(former, l)) {
		l, ok, how = former, true, how+", its former name"
	}
	if !ok {
		return
	}
	if up := s.inv.upper(l); s.keepsNode(up, l) {
		l, how = up, how+", which is its port now"
	}
	s.wanted[l.Index] = how
}

// formerly finds the link that was selected and had the name then.
func (s *survey) formerly(name string) (Link, bool) {
	if !s.in.Sticky.answersTo(name) {
		return Link{}, false
	}
	return s.in.Sticky.find(s.inv)
}

// keepsNode says whether a running node goes on with one link in the place of
// another that a name means: because names were exchanged, or a bridge was put
// over the NIC, and the node's address is there.
func (s *survey) keepsNode(l, named Link) bool {
	ip := s.in.Sticky.NodeIP
	return s.in.Hold && l.Index != named.Index && l.HasAddr(ip) && !named.HasAddr(ip)
}

// wantMAC finds the links with a MAC. A MAC is what people read off a label, so a
// port's leads to its bond or bridge as well: which port lends its MAC to a bond
// changes from boot to boot.
func (s *survey) wantMAC() {
	mac, how := normalMAC(s.in.Selector.MAC), "named by "+s.in.Selector.MAC
	for _, l := range s.inv.Links {
		if l.hasMAC(mac) {
			s.wanted[l.Index] = how
		}
	}
	for _, port := range s.inv.Links {
		up := s.inv.upper(port)
		if !port.hasMAC(mac) || up.Index == port.Index {
			continue
		}
		for _, l := range s.inv.Links {
			if l.Index != up.Index && (l.MasterIndex != 0 || !l.hasMAC(up.MAC)) {
				continue
			}
			if _, ok := s.wanted[l.Index]; !ok {
				s.wanted[l.Index] = how + ", the MAC of its port " + port.Name
			}
		}
	}
}

// normalMAC writes a MAC as Link.MAC has it; what is no MAC matches nothing.
func normalMAC(mac string) string {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return ""
	}
	return strings.ToLower(hw.String())
}

// hasMAC says whether the link has a MAC now or had it when it left the factory.
func (l Link) hasMAC(mac string) bool {
	return mac != "" && (strings.EqualFold(l.MAC, mac) || strings.EqualFold(l.PermMAC, mac))
}

// upper is the bond or bridge in which a link is a port, through all levels; the
// link itself where it is none. A VRF is no such thing: its links keep their
// addresses.
func (inv Inventory) upper(l Link) Link {
	for range inv.Links {
		master, ok := inv.LinkByIndex(l.MasterIndex)
		if !ok || master.Kind == "vrf" {
			break
		}
		l = master
	}
	return l
}
