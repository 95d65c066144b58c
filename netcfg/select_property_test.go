package netcfg

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawHost makes a host of few links of all kinds, among them ports, containers'
// links and tunnels, with addresses that meet.
func drawHost(t *rapid.T) Inventory {
	inv := Inventory{Links: []Link{{Index: 1, Name: "lo", Kind: "device", Up: true, Carrier: true, Loopback: true, Addrs: prefixes("127.0.0.1/8", "10.0.0.1/32")}}}
	names := rapid.Permutation([]string{"eth0", "eth1", "lan0", "br0", "cni0", "veth1", "docker0", "wg0", "lxc7"}).Draw(t, "names")
	kinds := []string{"device", "device", "device", "veth", "bridge", "bond", "vlan", "macvlan", "wireguard", "vrf"}
	count := rapid.SampledFrom([]int{5, 5, 4, 3, 2, 1, 0}).Draw(t, "links")
	for i := range count {
		l := drawLink(t, 2)
		l.Index, l.Name = i+2, names[i]
		l.Kind = rapid.SampledFrom(kinds).Draw(t, "kind")
		l.MAC = fmt.Sprintf("02:00:00:00:00:%02x", rapid.IntRange(1, 4).Draw(t, "MAC"))
		l.Up = rapid.SampledFrom([]bool{true, true, true, true, false}).Draw(t, "up")
		l.Carrier = l.Up && rapid.SampledFrom([]bool{true, true, true, true, false}).Draw(t, "carrier")
		if l.Index <= count && rapid.SampledFrom([]bool{false, false, true}).Draw(t, "port") {
			l.MasterIndex = rapid.IntRange(l.Index+1, count+1).Draw(t, "master")
		}
		for _, p := range l.Addrs {
			if rapid.IntRange(0, 9).Draw(t, "unusual") == 0 {
				l.Infos = append(l.Infos, AddrInfo{Addr: p.Addr(), Scope: rapid.SampledFrom([]uint8{ScopeUniverse, ScopeLink, 254}).Draw(t, "scope"), Deprecated: rapid.Bool().Draw(t, "deprecated")})
			}
		}
		inv.Links = append(inv.Links, l)
	}
	for range rapid.IntRange(0, 4).Draw(t, "routes") {
		inv.Routes = append(inv.Routes, drawRoute(t))
	}
	inv.setDefaultMetrics()
	return inv
}

func drawSelection(t *rapid.T, inv Inventory) SelectionInput {
	in := SelectionInput{Hold: rapid.Bool().Draw(t, "hold")}
	switch rapid.IntRange(0, 4).Draw(t, "selector") {
	case 0:
		in.Selector.Name = rapid.SampledFrom([]string{"eth0", "eth1", "br0", "cni0", "wg0", "lo"}).Draw(t, "name")
	case 1:
		in.Selector.MAC = fmt.Sprintf("02:00:00:00:00:%02x", rapid.IntRange(1, 5).Draw(t, "wanted MAC"))
	}
	for range rapid.IntRange(0, 2).Draw(t, "servers") {
		in.VPNServers = append(in.VPNServers, drawAddr(t, "server", lanPart()))
	}
	for range rapid.IntRange(0, 2).Draw(t, "CIDRs") {
		in.RemoteNodeCIDRs = append(in.RemoteNodeCIDRs, drawPrefix(t, "CIDR", lanPart(), 8, 16, 16, 24).Masked())
	}
	in.Sticky = drawRemembered(t, inv)
	return in
}

func drawRemembered(t *rapid.T, inv Inventory) Remembered {
	l := rapid.SampledFrom(inv.Links).Draw(t, "sticky")
	r := Remembered{Name: l.Name, MAC: l.MAC, Kind: l.Kind}
	if len(l.Addrs) > 0 && rapid.Bool().Draw(t, "former address") {
		r.NodeIP = l.Addrs[0].Addr()
	}
	switch rapid.IntRange(0, 3).Draw(t, "memory") {
	case 0:
		return Remembered{}
	case 1:
		r.Name = "former0"
	case 2:
		r.MAC = "02:00:00:00:00:99"
	}
	return r
}

// TestSelectionProperties holds for every host and every question.
func TestSelectionProperties(t *testing.T) {
	t.Parallel()
	selected, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		inv := drawHost(t)
		in := drawSelection(t, inv)
		before := fmt.Sprintf("%+v %+v", inv, in)
		sel, cands, err := SelectNIC(inv, in)
		if fmt.Sprintf("%+v %+v", inv, in) != before {
			t.Fatal("the input was changed")
		}
		mixed := inv
		mixed.Links = rapid.Permutation(inv.Links).Draw(t, "order")
		if sel2, cands2, err2 := SelectNIC(mixed, in); !reflect.DeepEqual(sel, sel2) || !reflect.DeepEqual(cands, cands2) || !reflect.DeepEqual(err, err2) {
			t.Fatalf("another order of links: %+v %v, then %+v %v", sel, err, sel2, err2)
		}
		if err != nil {
			refused++
			wantRefusal(t, cands, err)
			return
		}
		selected++
		wantSound(t, inv, in, sel)
		wantHeld(t, in, cands, sel)
		wantStickyInert(t, inv, in, cands, sel)
		in.Sticky = sel.Remember()
		if again, _, err := SelectNIC(inv, in); err != nil || again.Link.Index != sel.Link.Index || again.NodeIP != sel.NodeIP {
			t.Fatalf("selected %s %s, then %s %s, %v", sel.Link.Name, sel.NodeIP, again.Link.Name, again.NodeIP, err)
		}
	})
	if selected == 0 || refused == 0 {
		t.Errorf("%d selected, %d refused", selected, refused)
	}
}

func wantRefusal(t *rapid.T, cands []Candidate, err error) {
	var se *SelectionError
	if !errors.As(err, &se) || se.Code() == "" || se.Refusal.Action == "" || se.Refusal.Reason == "" {
		t.Fatalf("refused with %+v", err)
	}
	if slices.ContainsFunc(cands, func(c Candidate) bool { return c.Selected || len(c.Reasons) == 0 || c.Accepted != (c.Code == "") }) {
		t.Fatalf("candidates %+v", cands)
	}
}

// wantSound: what is selected can be a node's NIC.
func wantSound(t *rapid.T, inv Inventory, in SelectionInput, sel Selection) {
	l := sel.Link
	switch {
	case l.Loopback || l.MasterIndex != 0 || !l.Up:
		t.Fatalf("selected %+v", l)
	case in.Selector.auto() && notForAuto(inv, l) != "":
		t.Fatalf("auto selected %s, which %s", l.Name, notForAuto(inv, l))
	case !slices.Contains(l.Addrs, sel.Prefix) || sel.Prefix.Addr() != sel.NodeIP || !isGlobal(sel.NodeIP) || l.Info(sel.NodeIP).Scope >= ScopeLink:
		t.Fatalf("node IP %s (%s) on %+v", sel.NodeIP, sel.Prefix, l)
	case len(in.RemoteNodeCIDRs) > 0 && !containedIn(in.RemoteNodeCIDRs, sel.NodeIP):
		t.Fatalf("node IP %s outside %v", sel.NodeIP, in.RemoteNodeCIDRs)
	case !l.Carrier && in.Sticky.Equal(Remembered{}):
		t.Fatalf("%s has no carrier and was not selected before", l.Name)
	}
}

// wantHeld: auto moves a running node to no other NIC but the one with its address.
func wantHeld(t *rapid.T, in SelectionInput, cands []Candidate, sel Selection) {
	if !in.Hold || !in.Selector.auto() || !in.Sticky.hasLink() || sel.NodeIP == in.Sticky.NodeIP {
		return
	}
	links := Inventory{}
	for _, c := range cands {
		links.Links = append(links.Links, c.Link)
	}
	if former, ok := in.Sticky.find(links); !ok || links.upper(former).Index != sel.Link.Index {
		t.Fatalf("a node on %+v was moved to %s %s", in.Sticky, sel.Link.Name, sel.NodeIP)
	}
}

// wantStickyInert: a former link that is rejected has no say, but in a name that it
// had.
func wantStickyInert(t *rapid.T, inv Inventory, in SelectionInput, cands []Candidate, sel Selection) {
	if in.Hold || in.Selector.Name != "" {
		return
	}
	s := newSurvey(inv, in)
	if slices.ContainsFunc(cands, func(c Candidate) bool { return c.Accepted && c.meant && s.isSticky(c) }) {
		return
	}
	in.Sticky = Remembered{}
	if plain, _, err := SelectNIC(inv, in); err != nil || plain.Link.Index != sel.Link.Index || plain.NodeIP != sel.NodeIP {
		t.Fatalf("%s %s with the memory of a rejected link, %s %s without, %v", sel.Link.Name, sel.NodeIP, plain.Link.Name, plain.NodeIP, err)
	}
}

// TestRenamedNICStaysSelected: whatever names an OS upgrade gives to the links.
func TestRenamedNICStaysSelected(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		inv := drawHost(t)
		for i := range inv.Links {
			l := &inv.Links[i]
			l.Kind, l.MasterIndex, l.Name = "device", 0, fmt.Sprintf("eth%d", l.Index)
			l.MAC = fmt.Sprintf("02:00:00:00:01:%02x", l.Index)
		}
		in := drawSelection(t, inv)
		in.Selector, in.Sticky = Selector{}, Remembered{}
		if rapid.Bool().Draw(t, "named") {
			in.Selector.Name = rapid.SampledFrom(inv.Links).Draw(t, "named link").Name
		}
		sel, _, err := SelectNIC(inv, in)
		if err != nil {
			return
		}
		in.Sticky = sel.Remember()
		names := rapid.Permutation([]string{"lan0", "lan1", "lan2", "lan3", "lan4", "lan5", "lan6"}).Draw(t, "new names")
		for i := range inv.Links {
			inv.Links[i].Name = names[i]
		}
		for range 2 { // and it is remembered again under the new name
			again, _, err := SelectNIC(inv, in)
			if err != nil || again.Link.Index != sel.Link.Index || again.NodeIP != sel.NodeIP {
				t.Fatalf("selected %s %s, after the renaming %s %s, %v", sel.Link.Name, sel.NodeIP, again.Link.Name, again.NodeIP, err)
			}
			in.Sticky = again.Remember()
		}
	})
}
