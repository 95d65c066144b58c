package agent

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds that assignment.proto states; sizes in bytes.
const (
	maxHostID         = 128
	maxPool           = 63
	maxCIDRText       = 18
	maxAddrText       = 15
	maxMACText        = 64
	maxEndpoint       = 259
	maxLabelKey       = 317
	maxLabelValue     = 63
	maxClusterName    = 100
	maxRegion         = 32
	maxKubeletFlags   = 64
	maxKubeletFlag    = 1024
	maxConfig         = 64 << 10
	maxRuntimeSource  = 16
	maxARN            = 1011
	maxActivationID   = 36
	maxActivationCode = 250
	// maxShown is how much of a value that is too long is shown.
	maxShown = 64
)

// ownFlags are kubelet's flags that the agent sets itself.
func ownFlags() []string {
	return []string{"--node-ip", "--node-labels", "--register-with-taints", "--hostname-override"}
}

// bytes refuses a text that is longer than its bound.
func (c *checker) bytes(field, text string, most int) bool {
	if len(text) <= most {
		return true
	}
	c.refuse(field, "%q has %d bytes, at most %d are taken", brief(text, maxShown), len(text), most)
	return false
}

// each refuses a list that is too long, or the texts in it that are.
func (c *checker) each(field string, texts []string, count, most int) bool {
	if !c.atMost(field, len(texts), count) {
		return false
	}
	ok := true
	for i, text := range texts {
		if len(text) > most {
			ok = c.bytes(fmt.Sprintf("%s[%d]", field, i), text, most)
		}
	}
	return ok
}

func (c *checker) labels(field string, labels map[string]string) {
	if !c.atMost(field, len(labels), maxLabels) {
		return
	}
	for key, value := range labels {
		if key == "" {
			c.refuse(field, "a label has no key; correct the NodePool")
		}
		if c.bytes(field, key, maxLabelKey) && len(value) > maxLabelValue {
			c.refuse(field+"["+key+"]", "the value has %d bytes, at most %d are taken; correct the NodePool", len(value), maxLabelValue)
		}
	}
}

func (c *checker) taints(field string, taints []*agentv1.Taint) {
	if !c.atMost(field, len(taints), maxLabels) {
		return
	}
	for i, taint := range taints {
		name := fmt.Sprintf("%s[%d]", field, i)
		if taint.GetKey() == "" {
			c.refuse(name+".key", "it is empty; correct the NodePool")
		}
		c.bytes(name+".key", taint.GetKey(), maxLabelKey)
		c.bytes(name+".value", taint.GetValue(), maxLabelValue)
		if !slices.Contains([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, taint.GetEffect()) {
			c.refuse(name+".effect", "%q is none of NoSchedule, PreferNoSchedule, NoExecute; correct the NodePool", brief(taint.GetEffect(), maxShown))
		}
	}
}

// nodeBounds checks the sizes of the node part; what its values mean is root's to
// check.
func (c *checker) nodeBounds(node *agentv1.NodeSpec) {
	if node.GetClusterName() == "" {
		c.refuse("node.cluster_name", "it is missing; correct the HybridCluster")
	}
	c.bytes("node.cluster_name", node.GetClusterName(), maxClusterName)
	c.bytes("node.region", node.GetRegion(), maxRegion)
	c.bytes("node.containerd_source", node.GetContainerdSource(), maxRuntimeSource)
	for field, size := range map[string]int{
		"node.kubelet_config_json": len(node.GetKubeletConfigJson()), "node.containerd_config": len(node.GetContainerdConfig()),
	} {
		if size > maxConfig {
			c.refuse(field, "%d bytes, at most %d are taken; shorten it in the HybridProfile", size, maxConfig)
		}
	}
	if c.each("node.kubelet_flags", node.GetKubeletFlags(), maxKubeletFlags, maxKubeletFlag) {
		for i, flag := range node.GetKubeletFlags() {
			c.kubeletFlag(fmt.Sprintf("node.kubelet_flags[%d]", i), flag)
		}
	}
	c.labels("node.registration_labels", node.GetRegistrationLabels())
	c.taints("node.registration_taints", node.GetRegistrationTaints())
	c.cidrs("node.vpc_cidrs", node.GetVpcCidrs(), true)
	c.cidrs("node.remote_node_cidrs", node.GetRemoteNodeCidrs(), true)
	c.each("node.vpn_servers", node.GetVpnServers(), maxVPNServers, maxAddrText)
	c.bytes("node.nic.name", node.GetNic().GetName(), maxInterfaceName)
	c.bytes("node.nic.mac", node.GetNic().GetMac(), maxMACText)
}

func (c *checker) kubeletFlag(field, flag string) {
	name, _, _ := strings.Cut(flag, "=")
	switch {
	case !strings.HasPrefix(flag, "--") || len(name) < 3 || strings.ContainsFunc(flag, unicode.IsSpace):
		c.refuse(field, "%q is not one word --name=value; correct the HybridProfile", brief(flag, maxShown))
	case slices.Contains(ownFlags(), name):
		c.refuse(field, "%s is set by the agent; remove it from the HybridProfile", name)
	}
}

func (c *checker) access(access *agentv1.AccessManagement) {
	switch access := access.GetMethod().(type) {
	case *agentv1.AccessManagement_IamRolesAnywhere:
		const field = "node.access.iam_roles_anywhere."
		if name := access.IamRolesAnywhere.GetNodeName(); !isDNSLabel(name) {
			c.refuse(field+"node_name",
				"%q is no lowercase DNS label of at most 63 characters; set host.name in the host's config.yaml to one", brief(name, maxHostID))
		}
		c.bytes(field+"profile_arn", access.IamRolesAnywhere.GetProfileArn(), maxARN)
		c.bytes(field+"role_arn", access.IamRolesAnywhere.GetRoleArn(), maxARN)
		c.bytes(field+"trust_anchor_arn", access.IamRolesAnywhere.GetTrustAnchorArn(), maxARN)
	case *agentv1.AccessManagement_Ssm:
		c.bytes("node.access.ssm.activation_id", access.Ssm.GetActivationId(), maxActivationID)
		if size := len(access.Ssm.GetActivationCode()); size > maxActivationCode { // never shown
			c.refuse("node.access.ssm.activation_code", "%d bytes, at most %d are taken", size, maxActivationCode)
		}
	default:
		c.refuse("node.access", "neither Systems Manager nor IAM Roles Anywhere is set; correct the HybridCluster")
	}
}
