package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hybridagent/plane/ca"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	planev1 "hybridagent/proto/hybrid/plane/v1"
)

const (
	maxCIDRs       = 16
	maxRegionBytes = 32
	maxARNBytes    = 1011 // IAM Roles Anywhere, CreateProfile
	maxPEMBytes    = 16 << 10
)

// block is a network with the field that names it.
type block struct {
	path   string
	prefix netip.Prefix
}

func (r *rules) cluster(v *violations, c *planev1.HybridClusterSpec) {
	if n := c.GetClusterName(); n != "" && !r.clusterName.MatchString(n) {
		v.add("spec.clusterName", "%q is no EKS cluster name: a letter or digit, then letters, digits, - and _, at most 100", n)
	}
	if !r.region.MatchString(c.GetRegion()) {
		v.add("spec.region", "%q is no AWS Region such as us-west-2", c.GetRegion())
	}
	v.bytes("spec.region", c.GetRegion(), maxRegionBytes)
	v.count("spec.vpcCidrs", len(c.GetVpcCidrs()), 1, maxCIDRs)
	v.count("spec.remoteNodeCidrs", len(c.GetRemoteNodeCidrs()), 1, maxCIDRs)
	v.count("spec.remotePodCidrs", len(c.GetRemotePodCidrs()), 0, maxCIDRs)
	blocks := v.blocks("spec.vpcCidrs", c.GetVpcCidrs())
	blocks = append(blocks, v.blocks("spec.remoteNodeCidrs", c.GetRemoteNodeCidrs())...)
	blocks = append(blocks, v.blocks("spec.remotePodCidrs", c.GetRemotePodCidrs())...)
	if s := c.GetServiceCidr(); s != "" {
		p, err := cidr(s)
		v.check("spec.serviceCidr", err)
		if err == nil {
			blocks = append(blocks, block{path: "spec.serviceCidr", prefix: p})
		}
	}
	v.apart(blocks)
	if e := c.GetApiEndpoint(); e != "" {
		v.check("spec.apiEndpoint", r.endpoint(e, true))
	}
	endpointAccess(v, c)
	v.count("spec.probeTargets", len(c.GetProbeTargets()), 0, maxCIDRs)
	for i, t := range c.GetProbeTargets() {
		v.check(fmt.Sprintf("spec.probeTargets[%d]", i), r.endpoint(t, false))
	}
	r.access(v, c)
}

// endpointAccess: it says something about an endpoint, and must not contradict an
// address that is given outright.
func endpointAccess(v *violations, c *planev1.HybridClusterSpec) {
	const path = "spec.endpointAccess"
	access := c.GetEndpointAccess()
	switch access {
	case agentv1.EndpointAccess_ENDPOINT_ACCESS_UNSPECIFIED:
		return
	case agentv1.EndpointAccess_ENDPOINT_ACCESS_PUBLIC, agentv1.EndpointAccess_ENDPOINT_ACCESS_PRIVATE:
	default:
		v.add(path, "%d is neither public nor private", access)
		return
	}
	if c.GetApiEndpoint() == "" {
		v.add(path, "needs spec.apiEndpoint, whose name is to be answered so")
		return
	}
	at, err := netip.ParseAddrPort(c.GetApiEndpoint())
	if err != nil {
		return // a name; hosts see what it is answered with
	}
	within := slices.ContainsFunc(c.GetVpcCidrs(), func(text string) bool {
		p, err := netip.ParsePrefix(text)
		return err == nil && p.Contains(at.Addr())
	})
	switch private := access == agentv1.EndpointAccess_ENDPOINT_ACCESS_PRIVATE; {
	case private && !within:
		v.add(path, "is private, but %s of spec.apiEndpoint lies outside the VPC CIDRs", at.Addr())
	case !private && within:
		v.add(path, "is public, but %s of spec.apiEndpoint lies inside the VPC CIDRs", at.Addr())
	}
}

func (v *violations) blocks(path string, cidrs []string) []block {
	var out []block
	for i, s := range cidrs {
		at := fmt.Sprintf("%s[%d]", path, i)
		p, err := cidr(s)
		v.check(at, err)
		if err == nil {
			out = append(out, block{path: at, prefix: p})
		}
	}
	return out
}

// apart: VPC, node, pod and service networks must not overlap, or packets for
// one end in another.
func (v *violations) apart(blocks []block) {
	for i, a := range blocks {
		for _, b := range blocks[:i] {
			if overlaps(a.prefix, b.prefix) {
				v.add(a.path, "%s overlaps %s of %s; VPC, remote node, remote pod and service CIDRs must be apart", a.prefix, b.prefix, b.path)
			}
		}
	}
}

func (r *rules) access(v *violations, c *planev1.HybridClusterSpec) {
	const path = "spec.accessManagement"
	if ssm := c.GetAccessManagement().GetSystemsManager(); ssm != nil {
		at := path + ".systemsManager"
		if !r.uuid.MatchString(ssm.GetActivationId()) {
			v.add(at+".activationId", "%q is no UUID", ssm.GetActivationId())
		}
		if n := len(ssm.GetActivationCode()); n < 20 || n > 250 {
			v.add(at+".activationCode", "has %d characters, 20 to 250 are possible", n)
		}
		return
	}
	ra := c.GetAccessManagement().GetIamRolesAnywhere()
	if ra == nil {
		v.add(path, "is missing; give systemsManager or iamRolesAnywhere")
		return
	}
	at := path + ".iamRolesAnywhere"
	arn(v, at+".profileArn", ra.GetProfileArn(), "rolesanywhere", "profile/")
	arn(v, at+".roleArn", ra.GetRoleArn(), "iam", "role/")
	arn(v, at+".trustAnchorArn", ra.GetTrustAnchorArn(), "rolesanywhere", "trust-anchor/")
	for _, a := range []string{ra.GetProfileArn(), ra.GetTrustAnchorArn()} {
		if parts := strings.SplitN(a, ":", 6); len(parts) == 6 && parts[3] != c.GetRegion() {
			v.add(at, "%s is in Region %s, but the cluster is in %s", a, parts[3], c.GetRegion())
		}
	}
	v.bytes(at+".caCertificate", ra.GetCaCertificate(), maxPEMBytes)
	v.bytes(at+".caPrivateKey", ra.GetCaPrivateKey(), maxPEMBytes)
	if _, err := ca.ParseNodeCA(ra.GetCaCertificate(), ra.GetCaPrivateKey()); err != nil {
		v.add(at+".caPrivateKey", "caCertificate and caPrivateKey cannot sign hosts' certificates: %v", err)
	}
}

// arn checks arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE.
func arn(v *violations, path, s, service, resource string) {
	v.bytes(path, s, maxARNBytes)
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || !strings.HasPrefix(p[1], "aws") || p[2] != service || !strings.HasPrefix(p[5], resource) || len(p[5]) == len(resource) {
		v.add(path, "%q is no ARN of the form arn:aws:%s:…:%s…", s, service, resource)
	}
}
