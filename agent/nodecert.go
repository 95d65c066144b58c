package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// requestCertificate asks the plane to sign the node's key where that is needed.
func (n *nodeMonitor) requestCertificate(ctx context.Context, input nodeInput) {
	facts := n.facts()
	wanted := input.inPool && input.rolesAnywhere && facts.state != nil && n.certificateDue(facts.state)
	if !wanted {
		if n.requested {
			n.requested = false
			n.outbox.RequestNodeCertificate(nil)
		}
		n.requestAt = time.Time{}
		return
	}
	if n.requested || n.now().Before(n.requestAt) {
		return
	}
	csr, err := n.door.NodeKeyCSR(ctx)
	if err != nil {
		n.certificateFailed(ctx, fmt.Errorf("cannot get the node's certificate request: %w", err))
		return
	}
	n.requested, n.requestAt = true, time.Time{}
	n.outbox.RequestNodeCertificate(csr)
}

// certificateDue says whether there is no certificate, or its end is near. One that
// never lives longer than the margin is replaced in the last tenth of its life by
// the next reading that finds it close to its end.
func (n *nodeMonitor) certificateDue(state *agentv1.NodeState) bool {
	if !state.GetCertificateInstalled() {
		return true
	}
	end := state.GetCertificateExpiresAt()
	return end != nil && end.AsTime().Sub(n.now()) < certificateMargin
}

func (n *nodeMonitor) install(ctx context.Context, response *agentv1.NodeCertificateResponse) {
	if !n.requested {
		return // answered twice, after a new stream
	}
	n.requested = false
	n.outbox.RequestNodeCertificate(nil)
	if len(response.GetCertificate()) == 0 {
		n.certificateFailed(ctx, fmt.Errorf("the plane did not sign the node's certificate: %s", response.GetRefusal()))
		return
	}
	if err := n.door.InstallNodeCertificate(ctx, response.GetCertificate()); err != nil {
		n.certificateFailed(ctx, fmt.Errorf("cannot install the node's certificate: %w", err))
		return
	}
	n.log.Info("installed the node's certificate")
	n.requestAt = n.now().Add(time.Hour) // whatever the next reading says
	n.change(func(f *nodeFacts) { f.certificateErr = nil })
	n.readState(ctx)
}

func (n *nodeMonitor) certificateFailed(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	n.requestAt = n.now().Add(certificateRetry)
	n.log.Warn("no node certificate", zap.Error(err))
	n.change(func(f *nodeFacts) { f.certificateErr = err })
}
