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

// certificateDue says whether there is no certificate, or its renewal is due.
func (n *nodeMonitor) certificateDue(state *agentv1.NodeState) bool {
	if !state.GetCertificateInstalled() {
		return true
	}
	at := renewalOf(state)
	return !at.IsZero() && !n.now().Before(at)
}

// renewalOf is when the node's certificate is renewed: at two fifths of its life, so
// that a plane that is away for months costs no node its credentials. Zero where
// there is none, or its life is not known. What uses it reads the file anew each time
// it asks for credentials: nothing is restarted.
func renewalOf(state *agentv1.NodeState) time.Time {
	from, until := state.GetCertificateValidFrom(), state.GetCertificateExpiresAt()
	if from == nil || until == nil {
		return time.Time{}
	}
	return from.AsTime().Add(until.AsTime().Sub(from.AsTime()) * 2 / 5)
}

// certificateUrgent says that the node has no certificate, or that more than four
// fifths of its life are over.
func certificateUrgent(state *agentv1.NodeState, now time.Time) bool {
	from, until := state.GetCertificateValidFrom(), state.GetCertificateExpiresAt()
	if !state.GetCertificateInstalled() || from == nil || until == nil {
		return true
	}
	return until.AsTime().Sub(now) < until.AsTime().Sub(from.AsTime())/5
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
