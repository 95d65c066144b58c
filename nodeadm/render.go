package nodeadm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Where nodeadm expects the node's certificate and key for IAM Roles Anywhere.
const (
	CertificatePath = "/etc/iam/pki/server.pem"
	PrivateKeyPath  = "/etc/iam/pki/server.key"
)

// Render turns the node part of an assignment into a NodeConfig. nodeIP is the
// address of the selected NIC. nodeadm would guess it from DNS or the default
// route, so it is always given. Errors name the field that cannot be used.
func Render(spec *agentv1.NodeSpec, nodeIP netip.Addr) (NodeConfig, error) {
	if spec == nil {
		return NodeConfig{}, errors.New("cannot render a NodeConfig: there is no node part")
	}
	if err := Check(spec); err != nil {
		return NodeConfig{}, err
	}
	kubelet, err := renderKubelet(spec, nodeIP)
	if err != nil {
		return NodeConfig{}, err
	}
	hybrid, err := renderHybrid(spec.GetAccess())
	if err != nil {
		return NodeConfig{}, err
	}
	config := NodeConfig{APIVersion: apiVersion, Kind: kind, Spec: Spec{
		Cluster: Cluster{Name: spec.GetClusterName(), Region: spec.GetRegion()},
		Kubelet: kubelet,
		Hybrid:  hybrid,
	}}
	if spec.GetContainerdConfig() != "" {
		config.Spec.Containerd = &Containerd{Config: spec.GetContainerdConfig()}
	}
	return config, nil
}

func renderKubelet(spec *agentv1.NodeSpec, nodeIP netip.Addr) (Kubelet, error) {
	if !nodeIP.Is4() {
		return Kubelet{}, fmt.Errorf("cannot render the kubelet flags: %q is no IPv4 node IP", nodeIP)
	}
	var config map[string]any
	if raw := spec.GetKubeletConfigJson(); len(raw) > 0 {
		// Numbers stay as written: a float would turn 10485760 into 1.048576e+07.
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&config); err != nil {
			return Kubelet{}, fmt.Errorf("cannot read the kubelet configuration: %w; correct it in the HybridProfile", err)
		}
		config = plainNumbers(config).(map[string]any)
	}
	flags := []string{"--node-ip=" + nodeIP.String()}
	if labels := joinLabels(spec.GetRegistrationLabels()); labels != "" {
		flags = append(flags, "--node-labels="+labels)
	}
	if taints := spec.GetRegistrationTaints(); len(taints) > 0 {
		flags = append(flags, "--register-with-taints="+joinTaints(taints))
	}
	return Kubelet{Config: config, Flags: append(flags, spec.GetKubeletFlags()...)}, nil
}

// plainNumbers replaces json.Number, which the YAML encoder would quote.
func plainNumbers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			value[key] = plainNumbers(member)
		}
	case []any:
		for i, member := range value {
			value[i] = plainNumbers(member)
		}
	case json.Number:
		if n, err := value.Int64(); err == nil {
			return n
		}
		if f, err := value.Float64(); err == nil {
			return f
		}
	}
	return value
}

// KubeletMaySet reports whether kubelet may give its own Node this label. With
// any other label of Kubernetes' own namespaces among its flags it refuses to
// start (k8s.io/kubernetes, kubeletapis.IsKubeletLabel).
func KubeletMaySet(key string) bool {
	namespace, _, ok := strings.Cut(key, "/")
	if !ok {
		return true
	}
	within := func(domain string) bool { return namespace == domain || strings.HasSuffix(namespace, "."+domain) }
	switch {
	case within("kubelet.kubernetes.io"), within("node.kubernetes.io"):
		return true
	case slices.Contains([]string{
		"kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os",
		"topology.kubernetes.io/zone", "topology.kubernetes.io/region",
		"beta.kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type",
		"failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
	}, key):
		return true
	}
	return !within("kubernetes.io") && !within("k8s.io")
}

// joinLabels writes labels as --node-labels takes them, sorted so that equal
// labels make an equal file. Those that only the plane's cluster access can set
// are left out.
func joinLabels(labels map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if KubeletMaySet(key) {
			parts = append(parts, key+"="+labels[key])
		}
	}
	return strings.Join(parts, ",")
}

func joinTaints(taints []*agentv1.Taint) string {
	var parts []string
	for _, taint := range taints {
		parts = append(parts, taint.GetKey()+"="+taint.GetValue()+":"+taint.GetEffect())
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func renderHybrid(access *agentv1.AccessManagement) (Hybrid, error) {
	switch method := access.GetMethod().(type) {
	case *agentv1.AccessManagement_Ssm:
		return Hybrid{SSM: &SSM{
			ActivationCode: method.Ssm.GetActivationCode(),
			ActivationID:   method.Ssm.GetActivationId(),
		}}, nil
	case *agentv1.AccessManagement_IamRolesAnywhere:
		anywhere := method.IamRolesAnywhere
		return Hybrid{IAMRolesAnywhere: &IAMRolesAnywhere{
			NodeName:        anywhere.GetNodeName(),
			TrustAnchorARN:  anywhere.GetTrustAnchorArn(),
			ProfileARN:      anywhere.GetProfileArn(),
			RoleARN:         anywhere.GetRoleArn(),
			CertificatePath: CertificatePath,
			PrivateKeyPath:  PrivateKeyPath,
		}}, nil
	default:
		return Hybrid{}, errors.New("cannot render credentials: neither Systems Manager nor IAM Roles Anywhere is set; set accessManagement in the HybridCluster")
	}
}
