package agent

import (
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func nodeReady(f *facts) verdict {
	n := f.node
	unitReason, unitMessage := f.unitTrouble()
	provisioned := n.state.GetAppliedNodeDigest() != ""
	if !provisioned {
		if v, none := unassigned(f); none {
			return v
		}
	}
	switch {
	case n.doorErr != nil && n.state == nil:
		return unknown("DoorUnreachable", "%v", n.doorErr)
	case n.state == nil:
		return unknown("Reading", "the node's state was not read yet")
	case n.certificateErr != nil:
		return no("NodeCertificate", "%v", n.certificateErr)
	case !provisioned && f.operation.running:
		return no("Provisioning", "the node is being provisioned; see OperationRunning")
	case !provisioned && f.operation.refused != nil:
		return no("ProvisionRefused", "the operation was refused: %s; %s", brief(f.operation.refused.GetMessage(), maxCause), f.tryAgain())
	case !provisioned && f.operation.failed():
		p := f.operation.progress
		return no("ProvisionFailed", "provisioning failed at %s: %s; %s", orText(p.GetStep(), "its start"), brief(p.GetMessage(), maxCause), f.tryAgain())
	case !provisioned && !f.readyToProvision():
		return no("NotProvisioned", "the host is no node yet: %s", f.missing())
	case !provisioned:
		return no("NotProvisioned", "the host is ready and waits for the plane's provision operation")
	case unitReason != "":
		return no(unitReason, "%s", unitMessage)
	case n.kubeletErr != nil:
		return no("KubeletUnhealthy", "kubelet does not answer on this host: %v; look at \"journalctl -u kubelet\"", n.kubeletErr)
	case !n.state.GetNodeReady():
		return no(orText(n.state.GetReason(), "NotReady"), "%s", orText(n.state.GetMessage(), "the Kubernetes API reports the Node as not Ready"))
	}
	return yes("Ready", "Node %s is Ready with kubelet %s", n.state.GetNodeName(), n.state.GetKubeletVersion())
}

// maxCause leaves room in a message for what is to be done next.
const maxCause = 700

// tryAgain is what to do after an operation that did not succeed: the plane does
// not try the same again by itself.
func (f *facts) tryAgain() string {
	return "when the cause is mended, run \"hybridctl provision " + f.hostID.ID + "\""
}

// readyToProvision says whether every precondition of a provision operation holds.
func (f *facts) readyToProvision() bool { return f.missing() == "" }

// missing names the first precondition of provisioning that does not hold; empty
// where all do, or the host is a node already.
func (f *facts) missing() string {
	switch {
	case !f.assignment.inPool():
		return "it is in no NodePool"
	case f.node.state == nil:
		return "hybrid-agent-op has not answered yet"
	case f.node.state.GetAppliedNodeDigest() != "":
		return "it is a node already"
	case !f.net.selected:
		return "no NIC is selected"
	case routesInstalled(f).status != agentv1.ConditionStatus_CONDITION_STATUS_TRUE:
		return "its routes are not installed"
	case pathHealthy(f).status == agentv1.ConditionStatus_CONDITION_STATUS_FALSE:
		return "the path to the VPC fails"
	case pathHealthy(f).reason == "Probing":
		return "the path to the VPC is being probed"
	case f.assignment.msg.GetNode().GetAccess().GetIamRolesAnywhere() != nil && !f.node.state.GetCertificateInstalled():
		return "the node's certificate is not installed yet"
	}
	return ""
}
