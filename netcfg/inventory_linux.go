package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dumpTries bounds how often a dump that the kernel marked as interrupted (the
// table changed meanwhile) is repeated.
const dumpTries = 5

// ReadInventory reads links, IPv4 addresses and the main table's IPv4 routes of
// the calling thread's network namespace. It needs no rights. Errors name the
// dump that failed; ctx is looked at between the dumps.
func ReadInventory(ctx context.Context) (Inventory, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return Inventory{}, fmt.Errorf("cannot open rtnetlink socket: %w", err)
	}
	defer h.Close()
	// With strict checking the kernel filters by family itself; kernels before
	// 4.20 do not know the option and are filtered here as well.
	_ = h.SetStrictCheck(true)

	links, err := dump(ctx, h.LinkList)
	if err != nil {
		return Inventory{}, fmt.Errorf("cannot list links: %w", err)
	}
	addrs, err := dump(ctx, func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return Inventory{}, fmt.Errorf("cannot list addresses: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return Inventory{}, err
	}
	inv := Inventory{Links: convertLinks(links, addrs)}
	if inv.Routes, err = readRoutes(); err != nil {
		return Inventory{}, err
	}
	inv.setDefaultMetrics()
	return inv, nil
}

func readRoutes() ([]Route, error) {
	conn, err := dialRequest()
	if err != nil {
		return nil, err
	}
	defer conn.close()
	var routes []Route
	err = conn.dumpRoutes(TableMain, 0, func() { routes = routes[:0] }, func(r Route) { routes = append(routes, r) })
	return routes, err
}

func dump[T any](ctx context.Context, list func() ([]T, error)) ([]T, error) {
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		items, err := list()
		if err == nil || !errors.Is(err, netlink.ErrDumpInterrupted) || try == dumpTries {
			return items, err
		}
	}
}

func convertLinks(links []netlink.Link, addrs []netlink.Addr) []Link {
	byLink := make(map[int][]netip.Prefix)
	infos := make(map[int][]AddrInfo)
	for _, a := range addrs {
		p, ok := prefixOf(a.IPNet)
		if !ok {
			continue
		}
		byLink[a.LinkIndex] = append(byLink[a.LinkIndex], p)
		if info := infoOf(a, p.Addr()); info != (AddrInfo{Addr: p.Addr()}) {
			infos[a.LinkIndex] = append(infos[a.LinkIndex], info)
		}
	}
	out := make([]Link, 0, len(links))
	for _, l := range links {
		at := l.Attrs()
		out = append(out, Link{
			Index: at.Index, Name: at.Name, AltNames: at.AltNames,
			MAC: at.HardwareAddr.String(), PermMAC: at.PermHWAddr.String(), Kind: l.Type(), MTU: at.MTU,
			Up:          at.RawFlags&unix.IFF_UP != 0,
			Carrier:     at.RawFlags&unix.IFF_LOWER_UP != 0,
			Loopback:    at.RawFlags&unix.IFF_LOOPBACK != 0,
			ParentIndex: at.ParentIndex, MasterIndex: at.MasterIndex,
			Addrs: byLink[at.Index], Infos: infos[at.Index],
		})
	}
	slices.SortFunc(out, func(a, b Link) int { return a.Index - b.Index })
	return out
}

func infoOf(a netlink.Addr, addr netip.Addr) AddrInfo {
	peer, _ := prefixOf(a.Peer)
	return AddrInfo{
		Addr: addr, Peer: peer, Scope: uint8(a.Scope),
		Secondary:  a.Flags&unix.IFA_F_SECONDARY != 0,
		Deprecated: a.Flags&unix.IFA_F_DEPRECATED != 0,
	}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok || !a.Unmap().Is4() {
		return netip.Prefix{}, false
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), true
}
