package fleet

import (
	"context"

	"go.uber.org/zap"

	"hybridagent/plane/ca"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// nodeCertificate signs the node's key with the CA that the cluster's IAM Roles
// Anywhere trust anchor holds, or answers why not.
func (f *Fleet) nodeCertificate(_ context.Context, h *host, req *agentv1.NodeCertificateRequest) *agentv1.PlaneMessage {
	cert, refusal := f.signNode(h.id, req.GetCsr())
	if refusal != "" {
		f.cfg.Log.Warn("node certificate is refused", zap.String("host_id", h.id), zap.String("reason", refusal))
	} else {
		f.cfg.Log.Info("node certificate is signed", zap.String("host_id", h.id))
	}
	return &agentv1.PlaneMessage{Message: &agentv1.PlaneMessage_NodeCertificate{
		NodeCertificate: &agentv1.NodeCertificateResponse{Certificate: cert, Refusal: clipped(refusal, maxReason)},
	}}
}

func (f *Fleet) signNode(hostID string, csr []byte) (cert []byte, refusal string) {
	f.mu.RLock()
	in := f.catalog.input(hostID)
	f.mu.RUnlock()
	if in.Pool == nil {
		return nil, "the host is in no NodePool; add it to one"
	}
	spec := in.Cluster.GetHybridCluster().GetAccessManagement().GetIamRolesAnywhere()
	if spec == nil {
		return nil, "cluster " + in.Cluster.GetMetadata().GetName() + " does not use IAM Roles Anywhere; its nodes need no certificate"
	}
	pub, err := ca.ParseCSR(csr, hostID)
	if err != nil {
		return nil, err.Error()
	}
	authority, err := ca.ParseNodeCA(spec.GetCaCertificate(), spec.GetCaPrivateKey())
	if err != nil {
		return nil, "the Roles Anywhere CA of cluster " + in.Cluster.GetMetadata().GetName() + " cannot be used: " + err.Error()
	}
	cert, err = authority.IssueNode(pub, hostID, f.cfg.Now())
	if err != nil {
		return nil, err.Error()
	}
	return cert, ""
}
