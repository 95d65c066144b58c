//go:build demo || soak

package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

func TestMain(m *testing.M) {
	lab.Main()
	os.Exit(m.Run())
}

const (
	poll = 50 * time.Millisecond
	// bound is the time for what has no time of its own to keep.
	bound = 60 * time.Second
)

// plan says what a site begins with.
type plan struct {
	// edges is the number of edge hosts; 0: one.
	edges int
	// servers are the first host's VPN servers; empty: the site's first one.
	servers string
	// nic is the first host's NIC by the pool; empty: auto.
	nic string
	// bare hosts are in the pool, but nothing makes nodes of them.
	bare bool
	// config is appended to config.yaml.
	config string
}

// site is a running site with the product on it.
type site struct {
	*lab.Site
	t        *testing.T
	ctx      context.Context
	aws      *actors.AWS
	plane    *actors.Plane
	operator *actors.Operator
	edges    []*actors.Edge
	// ids are the hosts' IDs by host name.
	ids map[string]string

	plan plan
}

func repository(t *testing.T) string {
	t.Helper()
	folder, err := lab.Repository()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// newSite makes a site whose hosts are in the pool and, unless they are to stay bare, Ready nodes. It is removed with the test.
func newSite(t *testing.T, p plan) *site {
	t.Helper()
	s := openSite(t, p)
	s.must(s.setPool(s.plan.servers))
	if !p.bare {
		s.awaitNodes()
	}
	return s
}

// openSite makes a site whose hosts are enrolled and in no pool yet.
func openSite(t *testing.T, p plan) *site {
	t.Helper()
	p.edges = max(p.edges, 1)
	if p.servers == "" {
		p.servers = lab.VPNServer
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	s := &site{t: t, ctx: ctx, ids: make(map[string]string), plan: p}
	bin, err := actors.FindBinaries(repository(t))
	s.must(err)
	s.Site, err = lab.New(ctx, lab.Options{Folder: t.TempDir(), Edges: p.edges, Files: actors.EdgeFiles(bin), Users: actors.EdgeUsers()})
	s.must(err)
	t.Cleanup(s.end)
	s.aws, err = actors.StartAWS(ctx, s.Site, bin)
	s.must(err)
	s.plane, err = actors.StartPlane(ctx, s.Site, bin)
	s.must(err)
	s.operator, err = actors.NewOperator(s.plane)
	s.must(err)
	s.enrol()
	return s
}

// end removes the site, after it has shown the logs of a failed test.
func (s *site) end() {
	if s.t.Failed() {
		for _, edge := range s.edges {
			s.t.Logf("the end of %s's agent log:\n%s", edge.Host.Name, edge.Agent.Tail(40))
		}
		if s.plane != nil {
			s.t.Logf("the end of the plane's log:\n%s", s.plane.Process.Tail(15))
		}
	}
	if err := s.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// await waits until check is content; a wait that takes longer than limit fails the test.
func (s *site) await(what string, limit time.Duration, check func(ctx context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	s.must(lab.Until(ctx, what, poll, check))
}

// passes lets time go by that is part of the story.
func (s *site) passes(d time.Duration) {
	s.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
		s.t.Fatal(s.ctx.Err())
	}
}

func (s *site) enrol() {
	s.t.Helper()
	yaml, err := actors.ClusterYAML()
	s.must(err)
	s.must(s.operator.Apply(s.ctx, "cluster.yaml", yaml))
	token, err := s.operator.Token(s.ctx, s.plan.edges)
	s.must(err)
	for n := 1; n <= s.plan.edges; n++ {
		edge := &actors.Edge{Host: s.Host(lab.EdgeName(n))}
		s.must(edge.Prepare(s.plane.CAPin, token, s.aws.Manifest, actors.StandInConfig{Direct: true, TimeScale: 0.05}))
		s.must(edge.Host.WriteFile("/etc/hybrid-agent/config.yaml", []byte(actors.Config(s.plane.CAPin, s.plan.config)), 0o644, 0, 0))
		s.must(edge.StartOp())
		s.must(edge.StartAgent())
		s.edges = append(s.edges, edge)
	}
	s.await("the hosts to enrol", bound, func(ctx context.Context) error {
		hosts, err := s.operator.Hosts(ctx)
		if err != nil {
			return err
		}
		for _, edge := range s.edges {
			host := hosts[edge.Host.Name]
			if !host.Status.Connected {
				return fmt.Errorf("%s is not connected", edge.Host.Name)
			}
			s.ids[edge.Host.Name] = host.Metadata.Name
		}
		return nil
	})
	for _, edge := range s.edges {
		if s.plan.bare {
			s.must(edge.Op.Stop(10 * time.Second)) // without root's program there will be no node
		}
	}
}

// setPool has the operator write the pool, with these VPN servers for the first host and the site's first one for the others.
func (s *site) setPool(servers string) error {
	var members []actors.PoolMember
	nic := s.plan.nic
	for n, edge := range s.edges {
		if n > 0 {
			servers, nic = lab.VPNServer, ""
		}
		members = append(members, actors.PoolMember{
			HostID: s.ids[edge.Host.Name], HostName: fmt.Sprintf("till-%d", n+1), NIC: cmp.Or(nic, "auto"), VPNServer: servers,
		})
	}
	yaml, err := actors.PoolYAML(strings.ToUpper(runtime.GOARCH), members)
	if err != nil {
		return err
	}
	return s.operator.Apply(s.ctx, "pool.yaml", yaml)
}

// awaitNodes waits until every host is a Ready node whose provisioning has ended.
func (s *site) awaitNodes() {
	s.t.Helper()
	s.await("Ready nodes", bound, func(ctx context.Context) error {
		var errs []error
		for _, edge := range s.edges {
			status, err := edge.Status(ctx)
			if err == nil && !strings.HasSuffix(status.Operation.State, "_SUCCEEDED") {
				err = fmt.Errorf("operation %s at %s: %s", status.Operation.State, status.Operation.Step, status.Operation.Message)
			}
			errs = append(errs, err, status.Holds("NodeReady"), status.Holds("PathHealthy"))
		}
		return errors.Join(errs...)
	})
	s.await("the pool to run", bound, func(ctx context.Context) error {
		pool, err := s.operator.Pool(ctx, actors.PoolName)
		if err == nil && pool.Status.Ready != len(s.edges) {
			err = fmt.Errorf("%d of %d nodes are Ready: %v", pool.Status.Ready, len(s.edges), pool.Status.Problems)
		}
		return err
	})
}
