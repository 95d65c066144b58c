package path

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// verifyTime is how long the kernel takes to give an entry up: three requests a
	// second apart (ucast_solicit, retrans_time_ms in arp(7)), and some margin.
	verifyTime = 3500 * time.Millisecond
	verifyPoll = 100 * time.Millisecond
)

// neighbour asks the kernel's neighbour table. An entry may be called reachable for
// half a minute after its owner has died, so the kernel is told to verify it at
// once (NUD_PROBE); that is what it does by itself a little later.
func neighbour(ctx context.Context, addr netip.Addr) Presence {
	entry, found := neighbourEntry(addr)
	switch {
	case !found, entry.State&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0:
		return PresenceUnknown
	case entry.State&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY) != 0:
		entry.State = unix.NUD_PROBE
		if err := netlink.NeighSet(&entry); err != nil {
			return PresenceUnknown // without CAP_NET_ADMIN an old entry proves nothing
		}
	}
	return awaitNeighbour(ctx, addr)
}

// awaitNeighbour waits until the kernel has made up its mind.
func awaitNeighbour(ctx context.Context, addr netip.Addr) Presence {
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	poll := time.NewTicker(verifyPoll)
	defer poll.Stop()
	for {
		entry, found := neighbourEntry(addr)
		switch {
		case found && entry.State&unix.NUD_REACHABLE != 0:
			return Present
		case found && entry.State&unix.NUD_FAILED != 0:
			return Absent
		}
		select {
		case <-ctx.Done():
			if found && entry.State&unix.NUD_INCOMPLETE != 0 {
				return Absent
			}
			return PresenceUnknown
		case <-poll.C:
		}
	}
}

// neighbourEntry is the entry of an address, on whatever link.
func neighbourEntry(addr netip.Addr) (netlink.Neigh, bool) {
	entries, err := netlink.NeighList(0, netlink.FAMILY_V4)
	if err != nil {
		return netlink.Neigh{}, false
	}
	for _, entry := range entries {
		if entry.IP.Equal(net.IP(addr.AsSlice())) {
			return entry, true
		}
	}
	return netlink.Neigh{}, false
}
