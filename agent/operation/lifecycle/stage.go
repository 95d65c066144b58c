package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm"
	"hybridagent/nodeadm/change"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// stage fetches what nodeadm will need while everything still runs: for the way
// there, and for the way back.
func (p *job) stage(ctx context.Context, run engine.Run) error {
	if p.Artifacts == nil {
		return nil
	}
	for _, spec := range p.staged() {
		run.Say("fetching the artifacts of Kubernetes " + spec.GetKubernetesVersion())
		say := func(text string) {
			run.Say(text)
			p.tell(run, "%s", text)
		}
		err := p.Artifacts.Stage(ctx, spec, p.staged(), say)
		if err != nil && spec == p.former.Node {
			if !p.op.GetForce() {
				return lasting(fmt.Errorf("cannot %s: no way back could be had: %w; correct that, or force the operation to do without", p.verb(), err))
			}
			p.tell(run, "there is no way back to Kubernetes %s: %v", spec.GetKubernetesVersion(), err)
			continue
		}
		if err != nil {
			return lasting(fmt.Errorf("cannot %s: %w", p.verb(), err))
		}
	}
	return nil
}

// staged are the node parts whose artifacts are needed: the wanted one, and the
// former one where it is another.
func (p *job) staged() []*agentv1.NodeSpec {
	if !p.fetches() {
		return nil
	}
	specs := []*agentv1.NodeSpec{p.spec}
	if p.former.Node != nil && p.former.Node != p.spec {
		specs = append(specs, p.former.Node)
	}
	return specs
}

// fetches says whether nodeadm brings binaries to the host on this path.
func (p *job) fetches() bool {
	switch p.decided.Path {
	case change.None, change.Init, change.OSImage, change.Uninstall:
		return false
	}
	return p.spec != nil && !(p.joins() && p.imageBrings())
}

// lasting spares the tries that would meet the same: a full disk, a wrong checksum.
func lasting(err error) error {
	var failure *nodeadm.Failure
	if errors.As(err, &failure) && failure.Permanent {
		return &engine.Permanent{Err: err}
	}
	return err
}
