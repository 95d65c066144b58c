//go:build demo

package e2e

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// TestMTUBlackHole: in the second VPN server's tunnel packets of more than 1,400 bytes vanish without a word.
func TestMTUBlackHole(t *testing.T) {
	t.Parallel()
	const truth = 1400
	s := newSite(t, plan{})
	api := s.serveLarge()
	_, err := s.NarrowTunnel(s.ctx, "vpn2", truth)
	s.must(err)
	s.must(s.fetchLarge(s.ctx, api))

	s.requireOutcome(s.setVPN(lab.StandbyVPN, "--live"), 0)
	mtu := s.awaitRouteMTU(bound)
	if mtu > truth || mtu < truth-8 {
		t.Errorf("the route's MTU is %d, the tunnel's %d", mtu, truth)
	}
	s.awaitStatus("the path's MTU", bound, func(status actors.Status) error {
		if p := status.PathSummary; !p.MTUBlackHole || p.PathMTU != mtu || p.RouteMTU != mtu {
			return fmt.Errorf("status says %+v", p)
		}
		return nil
	})
	told := s.awaitCondition("PathHealthy", "TRUE", "MTU", bound)
	t.Logf("PathHealthy: %s: %s", told.Reason, told.Message)
	s.await("TLS with a large certificate and body", 10*time.Second, func(ctx context.Context) error { return s.fetchLarge(ctx, api) })

	s.requireOutcome(s.setVPN(lab.VPNServer, "--live"), 0)
	s.await("the route without an MTU", bound, func(ctx context.Context) error {
		if route, err := s.route(ctx); err != nil || routeMTU.MatchString(route) {
			return fmt.Errorf("the kernel has %q: %w", route, err)
		}
		return nil
	})
	s.must(s.routeVia(s.ctx, lab.VPNServer))
	s.must(s.fetchLarge(s.ctx, api))
}

// TestMTUBlackHoleIsRolledBack: where the routes are not to be touched, a live switch into such a hole does not stay.
func TestMTUBlackHoleIsRolledBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{config: "network: {pathMTU: report}\n"})
	api := s.serveLarge()
	_, err := s.NarrowTunnel(s.ctx, "vpn2", 1400)
	s.must(err)
	s.requireOutcome(s.setVPN(lab.StandbyVPN, "--live"), 1)
	if route, err := s.route(s.ctx); err != nil || routeMTU.MatchString(route) {
		t.Errorf("the kernel has %q: %v", route, err)
	}
	s.must(s.routeVia(s.ctx, lab.VPNServer))
	s.must(s.fetchLarge(s.ctx, api))
}

var routeMTU = regexp.MustCompile(` mtu (\d+) advmss (\d+)`)

// awaitRouteMTU waits until the route has an MTU and the MSS that belongs to it, and returns the former.
func (s *site) awaitRouteMTU(limit time.Duration) int {
	s.t.Helper()
	mtu := 0
	s.await("the route's MTU", limit, func(ctx context.Context) error {
		route, err := s.route(ctx)
		if err != nil {
			return err
		}
		match := routeMTU.FindStringSubmatch(route)
		if match == nil {
			return fmt.Errorf("the kernel has %q", route)
		}
		mtu, err = strconv.Atoi(match[1])
		mss, errMSS := strconv.Atoi(match[2])
		if mss != mtu-40 {
			err = errors.Join(err, fmt.Errorf("mtu %d, but advmss %d", mtu, mss))
		}
		return errors.Join(err, errMSS)
	})
	return mtu
}
