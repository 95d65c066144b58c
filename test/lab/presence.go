package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Presence is how a watched route did.
type Presence struct {
	// Samples is how often the kernel was asked, Present how often it had the route, Gaps how often the route went.
	Samples, Present, Gaps int
	// Longest is the longest time without it.
	Longest time.Duration
}

// Ratio is the share of the samples that had the route, 0 where there are none.
func (p Presence) Ratio() float64 { return float64(p.Present) / float64(max(p.Samples, 1)) }

func (p Presence) String() string {
	return fmt.Sprintf("there in %.1f %% of %d samples, %d gaps, the longest %s", 100*p.Ratio(), p.Samples, p.Gaps, p.Longest.Round(time.Millisecond))
}

// WatchPresence asks the host's kernel every interval whether it has a route of that protocol to dst in its main table. The function that it
// returns ends that and says what came of it. A flush with a link or address has no message of the kernel, so that only asking shows it.
func (h *Host) WatchPresence(dst netip.Prefix, protocol int, interval time.Duration) func() (Presence, error) {
	ctx, stop := context.WithCancel(context.Background())
	var p Presence
	done := make(chan error, 1)
	go func() {
		done <- h.Do(func() error { return p.watch(ctx, dst, protocol, interval) })
	}()
	return func() (Presence, error) {
		stop()
		err := <-done
		return p, err
	}
}

func (p *Presence) watch(ctx context.Context, dst netip.Prefix, protocol int, interval time.Duration) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	filter := &netlink.Route{Dst: &net.IPNet{IP: dst.Addr().AsSlice(), Mask: net.CIDRMask(dst.Bits(), 32)}, Protocol: netlink.RouteProtocol(protocol)}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var gone time.Time
	for {
		asked := time.Now()
		routes, err := handle.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_DST|netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			return fmt.Errorf("cannot read the routes: %w", err)
		}
		p.Samples++
		switch {
		case len(routes) > 0:
			p.Present++
			gone = time.Time{}
		case gone.IsZero():
			p.Gaps++
			gone = asked
		}
		if !gone.IsZero() {
			p.Longest = max(p.Longest, time.Since(gone))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
