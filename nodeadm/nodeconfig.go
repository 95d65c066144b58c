package nodeadm

import (
	"fmt"

	"github.com/goccy/go-yaml"
)

// What the head of every NodeConfig says; nodeadm checks neither.
const (
	apiVersion = "node.eks.aws/v1alpha1"
	kind       = "NodeConfig"
)

// NodeConfig mirrors node.eks.aws/v1alpha1 as nodeadm reads it. nodeadm refuses
// unknown fields.
type NodeConfig struct {
	APIVersion string `yaml:"apiVersion" json:"apiVersion"`
	Kind       string `yaml:"kind" json:"kind"`
	Spec       Spec   `yaml:"spec" json:"spec"`
}

// Spec is the body of a NodeConfig.
type Spec struct {
	Cluster    Cluster     `yaml:"cluster" json:"cluster"`
	Containerd *Containerd `yaml:"containerd,omitempty" json:"containerd,omitempty"`
	Kubelet    Kubelet     `yaml:"kubelet" json:"kubelet"`
	Hybrid     Hybrid      `yaml:"hybrid" json:"hybrid"`
}

// Cluster names the EKS cluster. apiServerEndpoint, certificateAuthority and
// cidr are left out on purpose: given them, nodeadm skips DescribeCluster and
// with it, silently, its checks of node IP, version skew and cluster access.
type Cluster struct {
	Name   string `yaml:"name" json:"name"`
	Region string `yaml:"region" json:"region"`
}

// Containerd is merged into containerd's configuration.
type Containerd struct {
	// Config is TOML.
	Config string `yaml:"config" json:"config"`
}

// Kubelet is how kubelet is configured and started.
type Kubelet struct {
	// Config holds KubeletConfiguration fields.
	Config map[string]any `yaml:"config,omitempty" json:"config,omitempty"`
	// Flags are command-line flags, one word each: nodeadm does not see the value
	// of a flag written as two words.
	Flags []string `yaml:"flags,omitempty" json:"flags,omitempty"`
}

// Hybrid is how the node authenticates to AWS; exactly one field is set.
type Hybrid struct {
	SSM              *SSM              `yaml:"ssm,omitempty" json:"ssm,omitempty"`
	IAMRolesAnywhere *IAMRolesAnywhere `yaml:"iamRolesAnywhere,omitempty" json:"iamRolesAnywhere,omitempty"`
}

// SSM is a Systems Manager hybrid activation; the code is secret.
type SSM struct {
	ActivationCode string `yaml:"activationCode" json:"activationCode"`
	ActivationID   string `yaml:"activationId" json:"activationId"`
}

// IAMRolesAnywhere names the IAM Roles Anywhere objects. The two paths must be
// given: nodeadm config check skips the defaults and refuses a file without.
type IAMRolesAnywhere struct {
	NodeName        string `yaml:"nodeName" json:"nodeName"`
	TrustAnchorARN  string `yaml:"trustAnchorArn" json:"trustAnchorArn"`
	ProfileARN      string `yaml:"profileArn" json:"profileArn"`
	RoleARN         string `yaml:"roleArn" json:"roleArn"`
	CertificatePath string `yaml:"certificatePath" json:"certificatePath"`
	PrivateKeyPath  string `yaml:"privateKeyPath" json:"privateKeyPath"`
}

// Marshal returns the file for nodeadm.
func (c NodeConfig) Marshal() ([]byte, error) {
	file, err := yaml.MarshalWithOptions(c, yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return nil, fmt.Errorf("cannot encode the NodeConfig: %w", err)
	}
	return file, nil
}
