//go:build soak

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// TestLiveSwitchEachSecond: operators who ask for another server each second get a stated outcome each, and plane and host agree in the end.
func TestLiveSwitchEachSecond(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{})
	kubelet, provisioned := s.kubelet(), s.provisioned()
	servers := []string{lab.StandbyVPN, lab.VPNServer}
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		last string
		done int
	)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	const switches = 21 // odd: where all are done, another server is in force in the end than at the beginning
	for i := range switches {
		server := servers[i%2]
		wg.Go(func() {
			got, err := s.operator.Try(s.ctx, "host", "set-vpn", s.id(), server, "--live")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case got.Code == 0:
				last, done = server, done+1
			case got.Code != 1 || !strings.Contains(got.Text, "an operation is under way"):
				t.Errorf("switch %d to %s ended with %d: %s", i, server, got.Code, got.Text)
			}
		})
		<-tick.C
	}
	wg.Wait()
	t.Logf("%d of %d switches were done, the last to %s", done, switches, last)
	if done == 0 {
		t.Fatal("no switch was done")
	}
	s.must(s.routeVia(s.ctx, last))
	s.requirePool(last)
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	s.requireSameNode(provisioned)
	s.must(s.routeVia(s.ctx, last))
	if now := s.kubelet(); !now.Same(kubelet) {
		t.Errorf("kubelet was restarted: %+v, %+v before", now, kubelet)
	}
}

// TestRefusalStorm: a host that refuses every generation disturbs neither the plane nor the other hosts, and keeps its network.
func TestRefusalStorm(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{bare: true, edges: 3, config: "network: {trialTimeout: 5s}\n"})
	s.awaitRoute(lab.VPNServer, bound)
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	presence := s.edge().Host.WatchPresence(vpc, 104, 5*time.Millisecond)
	others := make([]func() (lab.Presence, error), 0, 2)
	for _, edge := range s.edges[1:] {
		others = append(others, edge.Host.WatchPresence(vpc, 104, 5*time.Millisecond))
	}
	for i := range 50 {
		begin := time.Now()
		// None of them is in the site's network, and each one is another.
		s.must(s.setPool(fmt.Sprintf("10.201.%d.9", i)))
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("the plane took %s for edit %d", took, i)
		}
		s.awaitDescribed("network.vpn_servers", fmt.Sprintf("10.201.%d.9", i))
		s.must(s.routeVia(s.ctx, lab.VPNServer))
	}
	for n, watch := range append(others, presence) {
		if seen, err := watch(); err != nil || seen.Ratio() < 1 || seen.Samples == 0 {
			t.Errorf("the route of host %d of edge-2, edge-3, edge-1 was %s: %v", n, seen, err)
		}
	}
	s.await("every host's connection", bound, func(ctx context.Context) error {
		hosts, err := s.operator.Hosts(ctx)
		if err != nil {
			return err
		}
		var errs []error
		for name, host := range hosts {
			if !host.Status.Connected {
				errs = append(errs, fmt.Errorf("%s is not connected", name))
			}
		}
		return errors.Join(errs...)
	})
	for _, edge := range s.edges[1:] {
		status, err := edge.Status(s.ctx)
		s.must(err)
		s.must(errors.Join(status.Holds("RoutesInstalled"), status.Holds("PathHealthy")))
	}
	s.must(s.setPool(lab.StandbyVPN))
	s.awaitRoute(lab.StandbyVPN, bound)
	s.awaitStatus("the last edit in force", bound, func(status actors.Status) error {
		if len(status.Assignment.Refusals) > 0 || status.Network.Trial != nil {
			return fmt.Errorf("refusals %v, trial %v", status.Assignment.Refusals, status.Network.Trial)
		}
		return nil
	})
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
}

// TestTrialStorm: each edit takes the place of the former one's trial; in the end the network returns that worked before the first.
func TestTrialStorm(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{bare: true, config: "network: {trialTimeout: 10s}\n"})
	s.awaitRoute(lab.VPNServer, bound)
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	server := ""
	for i := range 50 {
		server = fmt.Sprintf("10.200.0.%d", 100+i)
		s.must(s.setPool(server))
		if i%10 == 9 {
			s.awaitRoute(server, bound)
		}
	}
	s.awaitRoute(lab.VPNServer, bound)
	s.awaitDescribed("network.vpn_servers", "tried and rolled back")
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	s.must(s.edge().Agent.Kill())
	s.must(s.edge().StartAgent())
	s.awaitCondition("Registered", "TRUE", "Connected", bound)
	s.must(s.routeVia(s.ctx, lab.VPNServer))
	s.must(s.setPool(lab.StandbyVPN))
	s.awaitRoute(lab.StandbyVPN, bound)
	s.awaitCondition("RoutesInstalled", "TRUE", "", bound)
}

// TestPowerCutAnywhereInLiveSwitch: whenever the power goes, host, pool and operator agree in the end on what became of the switch.
func TestPowerCutAnywhereInLiveSwitch(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{})
	kubelet, provisioned := s.kubelet(), s.provisioned()
	former, next := lab.VPNServer, lab.StandbyVPN
	done := 0
	hosts := map[string]string{lab.VPNServer: "vpn", lab.StandbyVPN: "vpn2"}
	const rounds = 150
	for i := range rounds {
		moment := time.Duration(rand.IntN(80)) * time.Millisecond
		mend := func(context.Context) error { return nil }
		if i%2 == 0 { // a good server is confirmed within milliseconds: this one keeps the trial going
			var err error
			mend, err = s.CutTunnel(s.ctx, hosts[next])
			s.must(err)
		}
		switched := s.beginSetVPN(next, "--live")
		s.passes(moment)
		s.must(s.edge().Host.PowerCut(s.ctx))
		s.must(mend(s.ctx))
		s.reboot(kubelet)
		s.awaitCondition("Registered", "TRUE", "Connected", bound)
		got := switched()
		inForce := former
		switch {
		case got.Code == 0:
			inForce, former, next = next, next, former
			done++
		case got.Code != 1:
			t.Fatalf("round %d, power cut after %s: hybridctl ended with %d: %s", i, moment, got.Code, got.Text)
		}
		s.awaitRoute(inForce, bound)
		s.requirePool(inForce)
		s.awaitCondition("PathHealthy", "TRUE", "", bound)
		if t.Failed() {
			t.Fatalf("round %d, power cut after %s: %s", i, moment, got.Text)
		}
	}
	t.Logf("%d of %d switches were done", done, rounds)
	s.requireSameNode(provisioned)
}
