package agent

import (
	"fmt"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

func nodeReady(f *facts, now time.Time) verdict {
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
	case n.certificateErr != nil && certificateUrgent(n.state, now):
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
	return f.readyVerdict(now)
}

// readyVerdict is that of a Node that the API calls Ready: what is wrong with it all
// the same is told, the most urgent first.
func (f *facts) readyVerdict(now time.Time) verdict {
	n := f.node
	text := fmt.Sprintf("Node %s is Ready with kubelet %s", n.state.GetNodeName(), n.state.GetKubeletVersion())
	switch serving := n.state.GetServingCertificate(); {
	case serving == servingPending || serving == "denied" || serving == "failed":
		return yes("ServingCertificate", "%s, but logs, exec and metrics of its pods do not work: %s", text, n.state.GetServingCertificateMessage())
	case n.certificateErr != nil:
		end := n.state.GetCertificateExpiresAt().AsTime()
		return yes("CertificateRenewal", "%s; its certificate for AWS ends %s and was to be renewed: %v", text, end.UTC().Format(time.RFC3339), n.certificateErr)
	case n.labelsErr != nil:
		return yes("Labels", "%s, but does not have the labels of its pool: %v", text, n.labelsErr)
	case n.state.GetUnschedulable() && !f.operation.running:
		return yes("Cordoned", "%s, but cordoned: no pod is placed on it until \"kubectl uncordon %s\"", text, n.state.GetNodeName())
	}
	return yes("Ready", "%s", text)
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
