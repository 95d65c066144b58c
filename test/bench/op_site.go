package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	standin "hybridagent/test/fakenodeadm/lab"
	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// opSite is a site with one node, on which root's program is measured.
type opSite struct {
	*lab.Site
	aws      *actors.AWS
	plane    *actors.Plane
	operator *actors.Operator
	edge     *actors.Edge
	id       string
}

const (
	opRoot    = "/usr/libexec/hybrid-agent/hybrid-agent-op"
	opFloor   = "/usr/local/bin/op-floor"
	sitePoll  = 100 * time.Millisecond
	siteBound = 3 * time.Minute
)

// newOpSite makes the site and takes its host to a Ready node.
func newOpSite(ctx context.Context, e *env) (s *opSite, err error) {
	repository, err := lab.Repository()
	if err != nil {
		return nil, err
	}
	bin, err := actors.FindBinaries(repository)
	if err != nil {
		return nil, err
	}
	files := actors.EdgeFiles(bin)
	if files[opFloor], err = e.build(ctx, "hybridagent/test/bench/floors/op"); err != nil {
		return nil, err
	}
	s = &opSite{}
	if s.Site, err = lab.New(ctx, lab.Options{Folder: e.dir, Edges: 1, Files: files, Users: actors.EdgeUsers()}); err != nil {
		return nil, err
	}
	if err := s.setUp(ctx, bin); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *opSite) setUp(ctx context.Context, bin actors.Binaries) (err error) {
	if s.aws, err = actors.StartAWS(ctx, s.Site, bin); err != nil {
		return err
	}
	if s.plane, err = actors.StartPlane(ctx, s.Site, bin); err != nil {
		return err
	}
	if s.operator, err = actors.NewOperator(s.plane); err != nil {
		return err
	}
	yaml, err := actors.ClusterYAML()
	if err != nil {
		return err
	}
	if err := s.operator.Apply(ctx, "cluster.yaml", yaml); err != nil {
		return err
	}
	token, err := s.operator.Token(ctx, 1)
	if err != nil {
		return err
	}
	s.edge = &actors.Edge{Host: s.Host(lab.EdgeName(1))}
	err = errors.Join(s.edge.Prepare(s.plane.CAPin, token, s.aws.Manifest, actors.StandInConfig{Direct: true, TimeScale: 0.05}), s.edge.StartOp(), s.edge.StartAgent())
	if err != nil {
		return err
	}
	err = s.until(ctx, "the host to enrol", func(ctx context.Context) error {
		hosts, err := s.operator.Hosts(ctx)
		if err == nil && !hosts[s.edge.Host.Name].Status.Connected {
			err = errors.New("it is not connected")
		}
		s.id = hosts[s.edge.Host.Name].Metadata.Name
		return err
	})
	if err != nil {
		return err
	}
	if err := s.choose(ctx, actors.FirstProfileVersion); err != nil {
		return err
	}
	_, err = s.succeeded(ctx, "")
	return err
}

func (s *opSite) until(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, siteBound)
	defer cancel()
	return lab.Until(ctx, what, sitePoll, check)
}

// choose has the operator choose a version of the profile for the pool.
func (s *opSite) choose(ctx context.Context, version string) error {
	pool, err := actors.PoolYAMLOf(strings.ToUpper(runtime.GOARCH), version, []actors.PoolMember{
		{HostID: s.id, HostName: "till-1", NIC: "auto", VPNServer: lab.VPNServer},
	})
	if err != nil {
		return err
	}
	return s.operator.Apply(ctx, "pool.yaml", pool)
}

// want applies another version of the profile and chooses it: a repave begins.
func (s *opSite) want(ctx context.Context, version, kubernetes string) error {
	profile, err := actors.ProfileYAML(actors.Profile{Version: version, Kubernetes: kubernetes, MaxPods: 60, DrainSeconds: 30})
	if err != nil {
		return err
	}
	if err := s.operator.Apply(ctx, "profile.yaml", profile); err != nil {
		return err
	}
	return s.choose(ctx, version)
}

// opJournalOf is root's journal of the last operation.
type opJournalOf struct {
	ID      string
	State   string
	Message string
	Records []struct {
		Kind, Step string
		At         time.Time
	}
}

func (s *opSite) journal(ctx context.Context) (opJournalOf, error) {
	var j opJournalOf
	out, err := s.edge.Host.Exec(ctx, opRoot, "show", "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &j)
	}
	return j, err
}

// succeeded waits for the success of the operation after the former one.
func (s *opSite) succeeded(ctx context.Context, former string) (opJournalOf, error) {
	var j opJournalOf
	err := s.until(ctx, "the end of the operation", func(ctx context.Context) (err error) {
		j, err = s.journal(ctx)
		switch {
		case err != nil:
			return err
		case j.ID == former || j.State == "pending" || j.State == "running" || j.State == "accepted":
			return fmt.Errorf("operation %s is %s", j.ID, j.State)
		case j.State != "succeeded":
			return lab.Final(fmt.Errorf("operation %s is %s: %s", j.ID, j.State, j.Message))
		}
		return nil
	})
	return j, err
}

// setNodeadm sets the stand-in's speed and faults.
func (s *opSite) setNodeadm(settings standin.Settings) error {
	settings.Direct = true
	content, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	return s.edge.Host.WriteFile("/run/hybrid-lab/fakenodeadm.json", content, 0o644, 0, 0)
}

// rss is what a process of this machine occupies of its memory, in MiB.
func rss(pid int) (float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if text, found := strings.CutPrefix(line, "VmRSS:"); found {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}
