package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hybridagent/agent/config"
	"hybridagent/agent/operation/lifecycle"
	"hybridagent/nodeadm/artifact"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// artifacts are what nodeadm downloads, staged below root's state.
type artifacts struct {
	dir     string
	nodeadm config.Nodeadm
}

func newArtifacts(cfg config.Config) artifacts {
	return artifacts{dir: filepath.Join(cfg.Paths.OpState, "staged"), nodeadm: cfg.Nodeadm}
}

func (a artifacts) options(spec *agentv1.NodeSpec) artifact.Options {
	return artifact.Options{Dir: a.dir, Spec: spec, Manifest: a.nodeadm.Manifest, Environment: a.nodeadm.Environment}
}

// Estimate says how many bytes Stage would fetch.
func (a artifacts) Estimate(ctx context.Context, spec *agentv1.NodeSpec) (uint64, bool, error) {
	return artifact.Estimate(ctx, a.options(spec))
}

// Stage fetches and verifies, and keeps what the others need.
func (a artifacts) Stage(ctx context.Context, spec *agentv1.NodeSpec, keep []*agentv1.NodeSpec, say func(string)) error {
	options := a.options(spec)
	for _, one := range keep {
		options.Keep = append(options.Keep, one.GetKubernetesVersion())
	}
	options.Progress = func(name string, done, total uint64) {
		if total > 0 && done == total {
			say(fmt.Sprintf("fetched %s: %d bytes are staged", name, done))
		}
	}
	if _, err := artifact.Nodeadm(ctx, options, a.nodeadm.Path); err != nil {
		return err
	}
	_, err := artifact.Stage(ctx, options)
	return err
}

// Open serves what was staged on the loopback; where nothing was, nodeadm goes by
// its own manifest.
func (a artifacts) Open(ctx context.Context, spec *agentv1.NodeSpec) (lifecycle.Served, error) {
	options := a.options(spec)
	program, err := artifact.Nodeadm(ctx, options, a.nodeadm.Path)
	if err != nil {
		return lifecycle.Served{}, err
	}
	staged, err := artifact.Open(options)
	if errors.Is(err, artifact.ErrNotStaged) {
		return lifecycle.Served{Manifest: a.nodeadm.Manifest, Nodeadm: program, Stop: func() {}}, nil
	}
	if err != nil {
		return lifecycle.Served{}, err
	}
	manifest, stop, err := artifact.Serve(staged)
	if err != nil {
		return lifecycle.Served{}, err
	}
	return lifecycle.Served{Manifest: manifest, Nodeadm: program, Stop: stop}, nil
}

// Forget removes all that was staged.
func (a artifacts) Forget() error {
	if err := os.RemoveAll(a.dir); err != nil {
		return fmt.Errorf("cannot remove staged artifacts: %w", err)
	}
	return nil
}
