package agent

import (
	"context"
	"fmt"

	"hybridagent/agent/identity"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Hello is part of session.Handler.
func (p *planeTask) Hello() *agentv1.Hello { return p.core.hello() }

// Welcomed is part of session.Handler.
func (p *planeTask) Welcomed(generation uint64) {
	p.core.confirm(generation)
	p.useUpToken()
}

// Assignment is part of session.Handler.
func (p *planeTask) Assignment(ctx context.Context, update *agentv1.AssignmentUpdate) {
	p.core.offer(ctx, update)
}

// Operation is part of session.Handler.
func (p *planeTask) Operation(env *agentv1.SignedOperation) { p.core.ops.offer(env) }

// NodeCertificate is part of session.Handler.
func (p *planeTask) NodeCertificate(response *agentv1.NodeCertificateResponse) {
	p.core.node.answer(response)
}

// Renewed is part of session.Handler.
func (p *planeTask) Renewed(id *identity.Identity) error {
	if err := id.Save(p.cfg.Paths.State); err != nil {
		return fmt.Errorf("cannot keep the renewed certificate: %w", err)
	}
	p.update(func(f *facts) { f.identity = id })
	return nil
}
