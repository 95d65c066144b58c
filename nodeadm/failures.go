package nodeadm

import "regexp"

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
	return []knownFailure{
		permanent(`node IP \S+ is not in any of the remote network`,
			"choose a NIC whose address lies in the cluster's remote node CIDRs, or add the CIDR to the EKS cluster"),
		permanent(`hostname-override`,
			"remove --hostname-override from the HybridProfile's kubelet flags"),
		permanent(`unknown field`,
			"correct that field in the HybridProfile"),
		permanent(`CertificatePath is missing|PrivateKeyPath is missing`,
			"this is a fault of the agent's NodeConfig; report it"),
		permanent(`input semver did not match|invalid semantic version`,
			"choose a Kubernetes version in the HybridProfile that nodeadm's manifest lists"),
		permanent(`certificate has expired`,
			"check the host's clock; if it is right, remove /etc/iam/pki/server.pem so that the agent asks for a new certificate"),
		permanent(`IAM Roles Anywhere certificate \S+ not found|parsing certificate`,
			"remove /etc/iam/pki/server.pem so that the agent asks the plane for a new certificate"),
		permanent(`Unit file containerd\.service does not exist`,
			"install containerd in the host's image, or choose containerd source distro or docker in the HybridProfile"),
		permanent(`version skew|newer than the cluster`,
			"choose a Kubernetes version in the HybridProfile that is at most the cluster's and at most three minor versions older"),
		permanent(`checksum|sha256 mismatch`,
			"the artifact server delivers damaged files: correct them or the manifest, then provision again"),
		permanent(`AccessDenied|is not authorized to perform`,
			"give the node's IAM role the named permission (see the EKS Hybrid Nodes IAM role), then provision again"),
		permanent(`InvalidActivation|ActivationExpired|RegistrationLimitExceeded|[Aa]ctivation.*(expired|invalid|limit)`,
			"create a new SSM hybrid activation and set it in the HybridCluster, then provision again"),
		permanent(`ResourceNotFoundException|No cluster found`,
			"correct the cluster name or Region in the HybridCluster"),
		passing(`operation error EKS: DescribeCluster`,
			"check that the host reaches the EKS service endpoint (DNS, route to the VPC, proxy), then provision again"),
		passing(`operation error (ECR|STS|SSM|RolesAnywhere)`,
			"check that the host reaches that AWS service's endpoint, then provision again"),
		passing(`installing |downloading |failed reading file from url|getting artifact`,
			"check that the host reaches the artifact server named in nodeadm's manifest, then provision again"),
		passing(`dialing \S+:\d+|connection refused|context deadline exceeded|i/o timeout|no route to host|network is unreachable`,
			"check that the host reaches the cluster's API endpoint through the VPN, then provision again"),
	}
}
