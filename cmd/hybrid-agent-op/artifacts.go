package main

import (
	"context"
	"errors"
	"path/filepath"

	"hybridagent/agent/config"
	"hybridagent/agent/operation/lifecycle"
	"hybridagent/nodeadm/artifact"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// artifacts are what nodeadm downloads, staged below root's state.
type artifacts struct{ artifact.Shelf }

func newArtifacts(cfg config.Config) artifacts {
	return artifacts{artifact.Shelf{
		Options: artifact.Options{
			Dir: filepath.Join(cfg.Paths.OpState, "staged"), Manifest: cfg.Nodeadm.Manifest, Environment: cfg.Nodeadm.Environment,
		},
		Own: cfg.Nodeadm.Path,
	}}
}

// Open serves what was staged on the loopback; where nothing was, nodeadm goes by
// its own manifest, and Unstaged says why.
func (a artifacts) Open(ctx context.Context, spec *agentv1.NodeSpec) (lifecycle.Served, error) {
	manifest, program, stop, err := a.Shelf.Open(ctx, spec)
	if errors.Is(err, artifact.ErrNotStaged) {
		program, failed := a.Program(ctx, spec)
		return lifecycle.Served{Manifest: a.Options.Manifest, Nodeadm: program, Stop: func() {}, Unstaged: err}, failed
	}
	return lifecycle.Served{Manifest: manifest, Nodeadm: program, Stop: stop}, err
}
