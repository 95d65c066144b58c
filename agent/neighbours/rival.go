package neighbours

import (
	"context"
	"time"
)

// rivalTimeout bounds the questions to systemd about one rival: who asks may have
// a route to put back.
const rivalTimeout = 250 * time.Millisecond

// maxPID is PID_MAX_LIMIT of linux/threads.h. The kernel gives higher netlink
// ports to the second and further sockets of a process: they name nobody.
const maxPID = 1 << 22

// Rival names who holds a netlink port, for people: a unit of systemd; "" where
// nobody knows. A program's first netlink socket has its process ID as its port
// (netlink(7)). That of networkd is opened by systemd, which passes it on
// (systemd-networkd.socket), so that its port is 1.
func (h Host) Rival(port uint32, _ time.Time) string {
	ctx, cancel := context.WithTimeout(context.Background(), rivalTimeout)
	defer cancel()
	switch {
	case port == 0 || port > maxPID:
		return ""
	case port == 1:
		if running, err := h.running(ctx, networkdUnit); err == nil && running[networkdUnit] {
			return networkdUnit
		}
		return "systemd"
	}
	unit, err := h.UnitOf(ctx, port)
	if err != nil {
		return "" // it has ended, as an ip command does
	}
	return unit
}
