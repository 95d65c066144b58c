package nodeadm

import (
	"regexp"
	"slices"
)

// knownFailure is a message of nodeadm v1.0.20 and what an operator does about
// it.
type knownFailure struct {
	form      *regexp.Regexp
	action    string
	permanent bool
}

// knownFailures lists what nodeadm is known to say, the specific before the
// general. The texts were recorded from runs of the real binary.
func knownFailures() []knownFailure {
	permanent := func(form, action string) knownFailure {
		return knownFailure{form: regexp.MustCompile(form), action: action, permanent: true}
	}
	passing := func(form, action string) knownFailure {
		return knownFailure{form: regexp.MustCompile(form), action: action}
	}
	return slices.Concat(
		nodeFailures(permanent, passing),
		credentialFailures(permanent, passing),
		hostFailures(permanent, passing),
		networkFailures(permanent, passing),
	)
}

// failure makes a knownFailure.
type failure func(form, action string) knownFailure

// nodeFailures are what nodeadm says of the Node and of the NodeConfig.
func nodeFailures(permanent, passing failure) []knownFailure {
	return []knownFailure{
		passing(`node is schedulable`,
			"the node was not cordoned, or somebody uncordoned it meanwhile: leave it cordoned until the operation has ended, then try again"),
		passing(`only static pods and pods controlled by daemon-sets can be running`,
			"pods other than DaemonSets' are on the node, finished ones count too: see 'kubectl get pods -A --field-selector spec.nodeName=NODE', move or delete them, then try again"),
		// The same words stand before an API that does not answer.
		passing(`node not initialized.*(connection refused|deadline exceeded|i/o timeout|no route to host|network is unreachable|no such host)`,
			"the Kubernetes API did not answer: check that the host reaches the cluster's API endpoint through the VPN, then try again"),
		permanent(`node not initialized.*(not found|NotFound)`,
			"the cluster has no Node of this host: repave the host, which runs nodeadm init first and registers it"),
		permanent(`node not initialized.*(no such file|kubeconfig)`,
			"kubelet's kubeconfig is missing or damaged: repave the host, which runs nodeadm init first and writes it anew"),
		passing(`node not initialized`,
			"the host's Node could not be read: see 'kubectl get nodes', then try again"),
		permanent(`node IP \S+ is not in any of the remote network`,
			"choose a NIC whose address lies in the cluster's remote node CIDRs, or add the CIDR to the EKS cluster"),
		permanent(`hostname-override`,
			"remove --hostname-override from the HybridProfile's kubelet flags"),
		permanent(`unknown field`,
			"correct that field in the HybridProfile"),
		permanent(`CertificatePath is missing|PrivateKeyPath is missing`,
			"this is a fault of the agent's NodeConfig; report it"),
		permanent(`invalid semantic version|invalid requested version|invalid kubernetes version`,
			"correct the Kubernetes version in the HybridProfile: it must have the form 1.31.5"),
		permanent(`input semver did not match|Kubernetes (patch )?version mismatch`,
			"choose a Kubernetes version in the HybridProfile that nodeadm's manifest lists"),
		permanent(`region \S+ not found in manifest`,
			"correct the Region in the HybridCluster, or use a manifest that lists it"),
		permanent(`version skew|newer than the cluster`,
			"choose a Kubernetes version in the HybridProfile that is at most the cluster's and at most three minor versions older"),
		permanent(`ResourceNotFoundException|No cluster found`,
			"correct the cluster name or Region in the HybridCluster"),
	}
}

// credentialFailures are what AWS refuses. The texts of SSM are those of
// amazon-ssm-agent (agent/ssm/anonauth, "error registering the instance with AWS
// SSM. <code>: …") and of nodeadm, which shortens two of them (internal/ssm/daemon.go).
func credentialFailures(permanent, passing failure) []knownFailure {
	return []knownFailure{
		permanent(`SSM activation expired|ActivationExpired`,
			"the SSM activation has expired: create a new hybrid activation with a later expiry and set it in the HybridCluster, then try again (hosts that are registered are not affected)"),
		permanent(`RegistrationLimitExceeded.*On-prem managed instances`,
			"the AWS account has as many SSM managed instances as its quota allows: deregister instances that are gone in Systems Manager, or raise the quota, then try again"),
		permanent(`RegistrationLimitExceeded|[Rr]egistration limit`,
			"the SSM activation is used up: create a new hybrid activation with a registration limit of at least the number of hosts and set it in the HybridCluster, then try again"),
		permanent(`invalid SSM activation|InvalidActivation`,
			"the SSM activation is wrong: compare activation ID and code, and that the activation was made in the cluster's Region, correct them in the HybridCluster, then try again"),
		permanent(`ssm-setup-cli signature`,
			"nodeadm could not verify the SSM installer with the key that it carries, which expires: choose a newer nodeadm in the HybridProfile or the host's image"),
		permanent(`certificate has expired`,
			"check the host's clock; if it is right, remove /etc/iam/pki/server.pem so that the agent asks for a new certificate"),
		permanent(`IAM Roles Anywhere certificate \S+ not found|parsing certificate`,
			"remove /etc/iam/pki/server.pem so that the agent asks the plane for a new certificate"),
		passing(`ExpiredToken|SignatureDoesNotMatch|RequestTimeTooSkewed|InvalidSignatureException|[Ss]ignature (not yet current|expired)`,
			"AWS refused the time of the request: check the host's clock, then try again"),
		permanent(`ecr:|operation error ECR.*(AccessDenied|not authorized)`,
			"allow the node's IAM role to pull from ECR (ecr:GetAuthorizationToken and the pull actions of AmazonEC2ContainerRegistryPullOnly), then try again; kubelet may run with the new version already"),
		permanent(`eks:DescribeCluster|operation error EKS.*(AccessDenied|not authorized)`,
			"allow the node's IAM role eks:DescribeCluster, then try again"),
		permanent(`AccessDenied|is not authorized to perform`,
			"give the node's IAM role the named permission (see the EKS Hybrid Nodes IAM role), then try again"),
		permanent(`Unauthorized|asked for the client to provide credentials|[Aa]ccess entry`,
			"give the node's IAM role an EKS access entry of type HYBRID_LINUX in the cluster, then try again"),
		permanent(`unable to detect hybrid auth method`,
			"set accessManagement in the HybridCluster, then try again"),
	}
}

// hostFailures are what lies in the host or in the artifacts.
func hostFailures(permanent, passing failure) []knownFailure {
	return []knownFailure{
		permanent(`open /usr/bin/kubelet: no such file`,
			"the kubelet binary is missing: repave the host, which installs it before anything else"),
		permanent(`Unit file containerd\.service does not exist`,
			"install containerd in the host's image, or choose containerd source distro or docker in the HybridProfile"),
		permanent(`invalid MTU \d+ on interface|\bMTU\b.*68-1500`,
			"give the NIC an MTU of 68 to 1500 or of 8000 to 9001, then try again"),
		permanent(`unsupported operating system for the proxy`,
			"nodeadm sets up proxies on Ubuntu, RHEL and Amazon Linux only: take HTTP_PROXY and HTTPS_PROXY out of nodeadm.environment in config.yaml, then try again"),
		passing(`no space left on device`,
			"free space on the host's disk, then try again"),
		permanent(`read-only file system`,
			"the host's system cannot be written: manage it with an OS image (appliance mode), or remount it, then try again"),
		permanent(`could not find artifact`,
			"nodeadm's manifest has no artifact for this architecture: use a manifest that lists it"),
		permanent(`checksum|sha256 mismatch`,
			"the artifact server delivers damaged files: correct them or the manifest, then try again"),
		permanent(`x509: certificate signed by unknown authority`,
			"a proxy or server on the way presents a certificate that the host does not trust: add its CA to the host's trust store, then try again"),
		passing(`failed to pull|pulling sandbox image|sandbox image`,
			"check that the host reaches the ECR registry of its Region, then try again"),
	}
}

// networkFailures are what may pass by itself.
func networkFailures(_, passing failure) []knownFailure {
	return []knownFailure{
		passing(`operation error EKS: DescribeCluster`,
			"check that the host reaches the EKS service endpoint (DNS, route to the VPC, proxy), then try again"),
		passing(`operation error (ECR|STS|SSM|RolesAnywhere)|registering the instance with AWS SSM`,
			"check that the host reaches that AWS service's endpoint, then try again"),
		passing(`installing |downloading |failed reading file from url|getting artifact|[Uu]pgrad\S* .*(http|url)`,
			"check that the host reaches the artifact server named in nodeadm's manifest, then try again"),
		passing(`dialing \S+:\d+|connection refused|context deadline exceeded|i/o timeout|no route to host|network is unreachable`,
			"check that the host reaches the cluster's API endpoint through the VPN, then try again"),
	}
}
