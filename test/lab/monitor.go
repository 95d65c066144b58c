package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// RouteMonitor listens to the kernel's route messages in a host.
type RouteMonitor struct {
	dst     netip.Prefix
	updates chan routeEvent
	done    chan struct{}
}

type routeEvent struct {
	at    time.Time
	added bool
}

// MonitorRoute starts to record when the route to dst comes and goes in the host's main table.
func (h *Host) MonitorRoute(dst netip.Prefix) (*RouteMonitor, error) {
	file, err := os.Open(h.NetNS())
	if err != nil {
		return nil, fmt.Errorf("cannot watch routes of %s: %w", h.Name, err)
	}
	defer file.Close()
	m := &RouteMonitor{dst: dst, updates: make(chan routeEvent, 64), done: make(chan struct{})}
	raw := make(chan netlink.RouteUpdate, 64)
	if err := netlink.RouteSubscribeAt(netns.NsHandle(file.Fd()), raw, m.done); err != nil {
		return nil, fmt.Errorf("cannot watch routes of %s: %w", h.Name, err)
	}
	go m.forward(raw)
	return m, nil
}

func (m *RouteMonitor) forward(raw <-chan netlink.RouteUpdate) {
	for update := range raw {
		now := time.Now()
		if update.Dst == nil || update.Dst.String() != m.dst.String() {
			continue
		}
		select {
		case m.updates <- routeEvent{at: now, added: update.Type == unix.RTM_NEWROUTE}:
		case <-m.done:
			return
		}
	}
}

// Repaired waits until the route has been removed and then added again, and returns when it was added.
func (m *RouteMonitor) Repaired(ctx context.Context) (time.Time, error) {
	removed := false
	for {
		select {
		case <-ctx.Done():
			if !removed {
				return time.Time{}, fmt.Errorf("route %s was never removed", m.dst)
			}
			return time.Time{}, fmt.Errorf("route %s was removed and did not come back", m.dst)
		case event := <-m.updates:
			switch {
			case !event.added:
				removed = true
			case removed:
				return event.at, nil
			}
		}
	}
}

// DeleteRoute deletes the route to dst from the host's main table and returns when it asked the kernel to.
func (h *Host) DeleteRoute(dst netip.Prefix) (time.Time, error) {
	var asked time.Time
	err := h.Do(func() error {
		handle, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer handle.Close()
		asked = time.Now()
		return handle.RouteDel(&netlink.Route{Dst: &net.IPNet{IP: dst.Addr().AsSlice(), Mask: net.CIDRMask(dst.Bits(), 32)}})
	})
	if err != nil {
		return asked, fmt.Errorf("cannot delete route %s on %s: %w", dst, h.Name, err)
	}
	return asked, nil
}

// Close ends the monitor.
func (m *RouteMonitor) Close() { close(m.done) }

// Added waits until the route is added and returns when that was.
func (m *RouteMonitor) Added(ctx context.Context) (time.Time, error) {
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("route %s was not added", m.dst)
		case event := <-m.updates:
			if event.added {
				return event.at, nil
			}
		}
	}
}
