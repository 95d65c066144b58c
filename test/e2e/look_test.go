//go:build demo || soak

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// edge is the first edge host, id its ID.
func (s *site) edge() *actors.Edge { return s.edges[0] }
func (s *site) id() string         { return s.ids[s.edges[0].Host.Name] }

// route is the kernel's route to the VPC on the first host; empty: none.
func (s *site) route(ctx context.Context) (string, error) {
	out, err := s.edge().Host.Exec(ctx, "ip", "route", "show", lab.VPCCIDR)
	return strings.Join(strings.Fields(out), " "), err
}

// routeVia is nil when the kernel has exactly one route to the VPC, and it leads through that server.
func (s *site) routeVia(ctx context.Context, server string) error {
	route, err := s.route(ctx)
	if err != nil {
		return err
	}
	if strings.Count(route, lab.VPCCIDR) != 1 || !strings.Contains(route, " via "+server+" ") {
		return fmt.Errorf("the kernel has %q; want one route via %s", route, server)
	}
	return nil
}

func (s *site) awaitRoute(server string, limit time.Duration) {
	s.t.Helper()
	s.await("the route via "+server, limit, func(ctx context.Context) error { return s.routeVia(ctx, server) })
}

// awaitStatus waits until the first host's status is as wanted; check says what is not.
func (s *site) awaitStatus(what string, limit time.Duration, check func(actors.Status) error) {
	s.t.Helper()
	s.await(what, limit, func(ctx context.Context) error {
		status, err := s.edge().Status(ctx)
		if err != nil {
			return err
		}
		return check(status)
	})
}

// awaitCondition waits until a condition has that status, TRUE or FALSE, and one of its words holds text.
func (s *site) awaitCondition(kind, status, text string, limit time.Duration) actors.Condition {
	s.t.Helper()
	var found actors.Condition
	s.awaitStatus(kind+" "+status, limit, func(st actors.Status) error {
		c, err := st.Condition(kind)
		if err == nil && (c.Status != "CONDITION_STATUS_"+status || !strings.Contains(c.Reason+": "+c.Message, text)) {
			err = fmt.Errorf("%s is %s/%s: %s; want %s with %q", kind, c.Status, c.Reason, c.Message, status, text)
		}
		found = c
		return err
	})
	return found
}

// setVPN runs hybridctl host set-vpn for the first host.
func (s *site) setVPN(servers string, flags ...string) actors.Outcome {
	s.t.Helper()
	outcome, err := s.operator.Try(s.ctx, append([]string{"host", "set-vpn", s.id(), servers}, flags...)...)
	s.must(err)
	return outcome
}

// beginSetVPN runs it in the background; the function that it returns waits for the end.
func (s *site) beginSetVPN(servers string, flags ...string) func() actors.Outcome {
	type end struct {
		outcome actors.Outcome
		err     error
	}
	done := make(chan end, 1)
	go func() {
		outcome, err := s.operator.Try(s.ctx, append([]string{"host", "set-vpn", s.id(), servers}, flags...)...)
		done <- end{outcome, err}
	}()
	return func() actors.Outcome {
		s.t.Helper()
		e := <-done
		s.must(e.err)
		return e.outcome
	}
}

// requireOutcome fails the test unless hybridctl ended with that exit code and said all of that.
func (s *site) requireOutcome(got actors.Outcome, code int, texts ...string) {
	s.t.Helper()
	s.t.Logf("hybridctl: exit code %d: %s", got.Code, got.Text)
	if got.Code != code {
		s.t.Fatalf("hybridctl ended with %d, want %d: %s", got.Code, code, got.Text)
	}
	for _, text := range texts {
		if !strings.Contains(got.Text, text) {
			s.t.Errorf("hybridctl does not say %q: %s", text, got.Text)
		}
	}
}

// requirePool fails the test unless the pool comes to have exactly these servers for the first host.
func (s *site) requirePool(servers ...string) {
	s.t.Helper()
	s.await("the pool's VPN servers", bound, func(ctx context.Context) error {
		got, err := s.operator.VPNServers(ctx, s.id())
		if err == nil && !slices.Equal(got, servers) {
			err = fmt.Errorf("the pool has VPN servers %v, want %v", got, servers)
		}
		return err
	})
}

// requireSameNode fails the test unless the host is the node that it was made once: Ready, its heartbeats arrive, and nothing asks for a repave.
func (s *site) requireSameNode(provisioned string) {
	s.t.Helper()
	var before int
	s.await("heartbeats of a Ready node", bound, func(ctx context.Context) error {
		nodes, err := s.aws.Nodes(ctx)
		if err != nil {
			return err
		}
		for _, node := range nodes {
			if node.InternalIP != lab.LANAddress(1) {
				continue
			}
			if before == 0 {
				before = node.GoodHeartbeats
			}
			if !node.Ready || node.GoodHeartbeats < before+2 {
				return fmt.Errorf("node %s: Ready %v (%s), %d heartbeats after %d", node.Name, node.Ready, node.ReadyReason, node.GoodHeartbeats, before)
			}
			return nil
		}
		return errors.New("no such node")
	})
	s.awaitCondition("NodeReady", "TRUE", "", bound)
	s.awaitCondition("RepaveRequired", "FALSE", "", bound)
	if now := s.provisioned(); now != provisioned {
		s.t.Errorf("root's journal was\n%s\nand is\n%s", provisioned, now)
	}
}

// provisioned is root's journal of the operation that made the node.
func (s *site) provisioned() string {
	s.t.Helper()
	out, err := s.edge().Host.Exec(s.ctx, "/usr/libexec/hybrid-agent/hybrid-agent-op", "show", "-o", "json")
	s.must(err)
	return out
}

// reboot brings the first host up after a power cut, with its network and kubelet.
func (s *site) reboot(kubelet actors.Kubelet) {
	s.t.Helper()
	s.must(s.BootNetwork(s.ctx, 1))
	s.must(s.edge().Boot())
	_, err := s.edge().StartKubelet(kubelet)
	s.must(err)
}

func (s *site) kubelet() actors.Kubelet {
	s.t.Helper()
	k, err := s.edge().Kubelet()
	s.must(err)
	return k
}

// onTrial waits until a change of the first host's network is in its kernel and not confirmed.
func (s *site) onTrial(server string) {
	s.t.Helper()
	s.awaitRoute(server, bound)
	s.awaitStatus("the trial", 5*time.Second, func(status actors.Status) error {
		if status.Network.Trial == nil {
			return errors.New("no change of the network is on trial")
		}
		return nil
	})
}

// ourProtocol marks the daemon's routes in the kernel.
const ourProtocol = 104

// vpc is what the routes lead to.
var vpc = netip.MustParsePrefix(lab.VPCCIDR)

var errNoTraffic = errors.New("no packet went through both ways")

// awaitAPI waits until the first host can open a connection to the cluster's API, which only the tunnel leads to.
func (s *site) awaitAPI(limit time.Duration) {
	s.t.Helper()
	begin := time.Now()
	s.await("a connection to the API", limit, func(ctx context.Context) error {
		return s.edge().Host.Do(func() error {
			conn, err := (&net.Dialer{Timeout: 500 * time.Millisecond}).DialContext(ctx, "tcp4", lab.EKSEndpoint+":443")
			if err == nil {
				_ = conn.Close()
			}
			return err
		})
	})
	s.t.Logf("the API was reached after %s", time.Since(begin).Round(time.Millisecond))
}

// awaitDescribed waits until hybridctl describe says all of these about the first host.
func (s *site) awaitDescribed(texts ...string) {
	s.t.Helper()
	s.await("hybridctl describe to say it", bound, func(ctx context.Context) error {
		got, err := s.operator.Try(ctx, "describe", "host", s.id())
		if err != nil {
			return err
		}
		for _, text := range texts {
			if !strings.Contains(got.Text, text) {
				return fmt.Errorf("it does not say %q: %s", text, got.Text)
			}
		}
		return nil
	})
}

// watchReady asks daemon and API without a pause whether the first host is a Ready node; the function that it returns ends that and fails
// the test if it was not once.
func (s *site) watchReady() func() {
	ctx, stop := context.WithCancel(s.ctx)
	done := make(chan error, 1)
	asked := 0
	go func() {
		var errs []error
		for ctx.Err() == nil && len(errs) < 3 {
			if err := s.readyNow(ctx); err != nil && ctx.Err() == nil {
				errs = append(errs, err)
			}
			asked++
		}
		done <- errors.Join(errs...)
	}()
	return func() {
		s.t.Helper()
		stop()
		if err := <-done; err != nil || asked == 0 {
			s.t.Errorf("the node was not Ready throughout (%d looks): %v", asked, err)
		}
	}
}

func (s *site) readyNow(ctx context.Context) error {
	status, err := s.edge().Status(ctx)
	if err != nil {
		return err
	}
	nodes, err := s.aws.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if node.InternalIP == lab.LANAddress(1) && !node.Ready {
			return fmt.Errorf("the API calls node %s not Ready: %s", node.Name, node.ReadyReason)
		}
	}
	return status.Holds("NodeReady")
}

// inHost runs a shell command on the first host.
func (s *site) inHost(command string) {
	s.t.Helper()
	if out, err := s.edge().Host.Command(s.ctx, "sh", "-c", command).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v: %s", command, err, out)
	}
}
