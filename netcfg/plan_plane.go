package netcfg

import (
	"fmt"
	"net/netip"
	"slices"
)

// PlaneMove is one address of the management plane that a plan reaches by another
// way than the host does now. That is no fault: a plane inside the VPC is reached
// through the VPN. But it is the way by which a mistake would be corrected.
type PlaneMove struct {
	Plane netip.Addr
	// Before and After are the main table's routes towards it, now and with the
	// plan in the kernel; without a valid Dst where none leads there.
	Before, After Route
}

// Lost says that no way is left.
func (m PlaneMove) Lost() bool { return !m.After.Dst.IsValid() }

// String tells the move to people, with links by index.
func (m PlaneMove) String() string {
	return fmt.Sprintf("%s: %s, before: %s", m.Plane, wayText(m.After), wayText(m.Before))
}

func wayText(r Route) string {
	if !r.Dst.IsValid() {
		return "no route"
	}
	return r.String()
}

// planeMoves compares the ways to the plane before and after the routes of ours in
// the main table became those planned. Policy rules are not looked at.
func planeMoves(inv Inventory, planned []Route, plane []netip.Addr) []PlaneMove {
	// The foreign ones come first: at the same destination and metric they stay.
	after := Inventory{Routes: append(slices.DeleteFunc(slices.Clone(inv.Routes), Route.Own), planned...)}
	var moves []PlaneMove
	for _, addr := range plane {
		addr = addr.Unmap()
		if !addr.Is4() {
			continue // our routes are IPv4
		}
		old, _ := inv.RouteTo(addr)
		now, _ := after.RouteTo(addr)
		if old.LinkIndex != now.LinkIndex || old.Gateway != now.Gateway || old.Source != now.Source {
			moves = append(moves, PlaneMove{Plane: addr, Before: old, After: now})
		}
	}
	return moves
}
