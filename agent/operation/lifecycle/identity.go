package lifecycle

import (
	"context"

	"hybridagent/agent/operation/engine"
	"hybridagent/nodeadm"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// kubeletPKI holds kubelet's certificates. nodeadm uninstall leaves them, and
// kubelet would go on with those of another Node or another cluster.
const kubeletPKI = "/var/lib/kubelet/pki"

// removeIdentity removes kubelet's certificates where they are of another Node than
// the one that the host becomes, or may be.
func (p *job) removeIdentity(_ context.Context, run engine.Run) error {
	if !p.otherIdentity() {
		return nil
	}
	p.tellOfFormerNode(run)
	return p.removeTrees(run, kubeletPKI)
}

// otherIdentity says whether the host becomes another Node; what it was may not be
// known.
func (p *job) otherIdentity() bool {
	before := p.former.Node
	return before == nil || p.otherCluster() || p.otherName()
}

// otherCluster says whether the Node is known to move to another cluster.
func (p *job) otherCluster() bool {
	before := p.former.Node
	return before != nil && (before.GetClusterName() != p.spec.GetClusterName() || before.GetRegion() != p.spec.GetRegion())
}

// otherName says whether the Node is known to get another name: a name of Systems
// Manager's is never one that was chosen.
func (p *job) otherName() bool {
	before, after := p.formerProvider(), nodeadm.Provider(p.spec)
	if before != "" && before != after {
		return true
	}
	a, b := chosenName(p.former.Node), chosenName(p.spec)
	return a != "" && b != "" && a != b
}

func (p *job) formerProvider() string {
	if p.former.Provider != "" {
		return p.former.Provider
	}
	return nodeadm.Provider(p.former.Node)
}

func chosenName(spec *agentv1.NodeSpec) string {
	return spec.GetAccess().GetIamRolesAnywhere().GetNodeName()
}

// tellOfFormerNode says which Node stays behind. Of a host whose record was lost it
// is not known that the Node it had is not the one it will have.
func (p *job) tellOfFormerNode(run engine.Run) {
	name := p.decided.NodeName
	switch {
	case name == "":
	case p.otherCluster():
		p.tell(run, "the Node %s stays in cluster %s (%s): there, kubectl delete node %s", name, p.former.Node.GetClusterName(), p.former.Node.GetRegion(), name)
	case p.otherName():
		p.tell(run, "the Node %s stays in the cluster: kubectl delete node %s", name, name)
	}
}

// removeForeignPKI removes the certificates that kubelet may have got as another
// Node, before it becomes again what it was.
func (p *job) removeForeignPKI(run engine.Run) error {
	if !p.otherIdentity() {
		return nil
	}
	return p.removeTrees(run, kubeletPKI)
}
