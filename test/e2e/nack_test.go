//go:build demo

package e2e

import (
	"errors"
	"testing"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// TestWrongPoolIsRefusedAndCorrected: a host that is no node yet tries what its pool says, and goes back from what does not serve.
func TestWrongPoolIsRefusedAndCorrected(t *testing.T) {
	t.Parallel()
	s := newSite(t, plan{bare: true, config: "network: {trialTimeout: 10s}\n"})
	s.awaitRoute(lab.VPNServer, bound)
	s.awaitAccepted()
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	s.must(s.setPool(nobody))
	s.onTrial(nobody)
	s.awaitRoute(lab.VPNServer, bound)
	s.awaitDescribed("network.vpn_servers", "tried and rolled back", "hybrid-agent network retry")
	s.must(s.routeVia(s.ctx, lab.VPNServer))
	s.must(s.setPool(lab.StandbyVPN))
	s.awaitRoute(lab.StandbyVPN, bound)
	s.awaitAccepted()
	s.awaitCondition("PathHealthy", "TRUE", "", bound)
	s.must(s.routeVia(s.ctx, lab.StandbyVPN))
}

// awaitAccepted waits until the host has its newest assignment in force, and nothing on trial.
func (s *site) awaitAccepted() {
	s.t.Helper()
	s.awaitStatus("the assignment in force", bound, func(status actors.Status) error {
		switch {
		case status.Assignment.Pool != actors.PoolName:
			return errors.New("the host is in no pool yet")
		case status.Network.Trial != nil:
			return errors.New("it is on trial: " + status.Network.Trial.Reason)
		case len(status.Assignment.Refusals) > 0:
			return errors.New("it is refused: " + status.Assignment.Refusals[0].Reason)
		}
		return nil
	})
}
