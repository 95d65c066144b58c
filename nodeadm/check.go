package nodeadm

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// Bounds of a node part, as assignment.proto says.
const (
	maxFlags         = 64
	maxLabels        = 64
	maxKubeletConfig = 64 << 10
	maxContainerd    = 64 << 10
	maxNodeName      = 63
	maxURL           = 2048
)

// The forms of what ends up on nodeadm's or kubelet's command line, or in a
// file that root reads.
var (
	versionForm  = regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$`)
	regionForm   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	clusterForm  = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$`)
	nodeNameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	flagForm     = regexp.MustCompile(`^--[a-z0-9]([a-z0-9-]*[a-z0-9])?(=[^\s\x00-\x1f\x7f]*)?$`)
	labelKeyForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	labelForm    = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$`)
	arnForm      = regexp.MustCompile(`^arn:aws[a-z-]*:[a-z]+:[a-z0-9-]*:[0-9]*:[^\s"'\x00-\x1f\x7f]{1,512}$`)
	sha256Form   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	uuidForm     = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// ownFlags are kubelet flags that a profile may not give, and why.
func ownFlags() map[string]string {
	return map[string]string{
		"node-ip":              "the agent sets it to the address of the selected NIC",
		"node-labels":          "the agent sets it from the NodePool's labels",
		"register-with-taints": "the agent sets it from the NodePool's taints",
		"hostname-override":    "nodeadm refuses it: the node's name is the host ID",
	}
}

// Check refuses a node part that nodeadm or kubelet would refuse or, worse,
// misread. Errors name the field and the resource to correct.
func Check(spec *agentv1.NodeSpec) error {
	switch {
	case !clusterForm.MatchString(spec.GetClusterName()):
		return fmt.Errorf("cannot use cluster name %q: 1 to 100 letters, digits, - and _; correct it in the HybridCluster", spec.GetClusterName())
	case !regionForm.MatchString(spec.GetRegion()):
		return fmt.Errorf("cannot use Region %q: not of the form us-west-2; correct it in the HybridCluster", spec.GetRegion())
	case !versionForm.MatchString(spec.GetKubernetesVersion()):
		return fmt.Errorf("cannot use Kubernetes version %q: not of the form 1.31.5; correct it in the HybridProfile", spec.GetKubernetesVersion())
	case !slices.Contains([]string{"", "none", "distro", "docker"}, spec.GetContainerdSource()):
		return fmt.Errorf("cannot use containerd source %q: not none, distro or docker; correct it in the HybridProfile", spec.GetContainerdSource())
	case len(spec.GetKubeletConfigJson()) > maxKubeletConfig:
		return fmt.Errorf("cannot use a kubelet configuration of %d bytes: more than %d", len(spec.GetKubeletConfigJson()), maxKubeletConfig)
	case len(spec.GetContainerdConfig()) > maxContainerd:
		return fmt.Errorf("cannot use a containerd configuration of %d bytes: more than %d", len(spec.GetContainerdConfig()), maxContainerd)
	}
	if err := checkFlags(spec.GetKubeletFlags()); err != nil {
		return err
	}
	if err := CheckLabels(spec.GetRegistrationLabels()); err != nil {
		return err
	}
	if err := checkTaints(spec.GetRegistrationTaints()); err != nil {
		return err
	}
	if source := spec.GetNodeadm(); source != nil {
		if err := CheckSource(source); err != nil {
			return err
		}
	}
	return checkAccess(spec.GetAccess())
}

// CheckSource refuses a pinned nodeadm that could not be fetched, or not be
// verified.
func CheckSource(source *agentv1.NodeadmSource) error {
	u, err := url.Parse(source.GetUrl())
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(source.GetUrl()) > maxURL {
		return errors.New("cannot use nodeadm's url: no https:// or http:// URL of at most 2048 bytes; correct nodeadm in the HybridProfile")
	}
	if !sha256Form.MatchString(source.GetSha256()) {
		return fmt.Errorf("cannot use nodeadm's sha256 %q: not 64 lowercase hexadecimal digits; correct nodeadm in the HybridProfile", source.GetSha256())
	}
	return nil
}

func checkFlags(flags []string) error {
	if len(flags) > maxFlags {
		return fmt.Errorf("cannot use %d kubelet flags: more than %d", len(flags), maxFlags)
	}
	for _, flag := range flags {
		if !flagForm.MatchString(flag) {
			return fmt.Errorf("cannot use kubelet flag %q: not one word of the form --name=value; correct it in the HybridProfile", flag)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		if why, own := ownFlags()[name]; own {
			return fmt.Errorf("cannot use kubelet flag --%s: %s; remove it from the HybridProfile", name, why)
		}
	}
	return nil
}

// CheckLabels refuses what is no set of Kubernetes labels.
func CheckLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("cannot use %d labels: more than %d", len(labels), maxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if !labelKeyForm.MatchString(key) || len(key) > 317 || !labelForm.MatchString(labels[key]) {
			return fmt.Errorf("cannot use label %q=%q: no Kubernetes label; correct it in the NodePool", key, labels[key])
		}
	}
	return nil
}

func checkTaints(taints []*agentv1.Taint) error {
	if len(taints) > maxLabels {
		return fmt.Errorf("cannot use %d taints: more than %d", len(taints), maxLabels)
	}
	for _, taint := range taints {
		effect := slices.Contains([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, taint.GetEffect())
		if !effect || !labelKeyForm.MatchString(taint.GetKey()) || !labelForm.MatchString(taint.GetValue()) {
			return fmt.Errorf("cannot use taint %q=%q:%q: no Kubernetes taint; correct it in the NodePool",
				taint.GetKey(), taint.GetValue(), taint.GetEffect())
		}
	}
	return nil
}

func checkAccess(access *agentv1.AccessManagement) error {
	if ssm := access.GetSsm(); ssm != nil {
		// The code itself is secret and stays out of the message.
		if n := len(ssm.GetActivationCode()); n < 20 || n > 250 {
			return fmt.Errorf("cannot use the SSM activation code: it has %d characters, not 20 to 250; correct it in the HybridCluster", n)
		}
		if !uuidForm.MatchString(ssm.GetActivationId()) {
			return fmt.Errorf("cannot use SSM activation ID %q: no UUID; correct it in the HybridCluster", ssm.GetActivationId())
		}
		return nil
	}
	anywhere := access.GetIamRolesAnywhere()
	if anywhere == nil {
		return nil
	}
	if err := CheckNodeName(anywhere.GetNodeName()); err != nil {
		return err
	}
	for _, arn := range []struct{ name, value string }{
		{"profile", anywhere.GetProfileArn()}, {"role", anywhere.GetRoleArn()}, {"trust anchor", anywhere.GetTrustAnchorArn()},
	} {
		if !arnForm.MatchString(arn.value) {
			return fmt.Errorf("cannot use %s ARN %q: no ARN; correct accessManagement in the HybridCluster", arn.name, arn.value)
		}
	}
	return nil
}

// CheckNodeName refuses what cannot be the name of a node with IAM Roles
// Anywhere: nodeadm does not check it, and kubelet would fail to register.
func CheckNodeName(name string) error {
	if len(name) > maxNodeName || !nodeNameForm.MatchString(name) {
		return fmt.Errorf("cannot use node name %q: not a lowercase DNS label (RFC 1123) of 1 to %d characters; give the host such a host ID (host.name in config.yaml)", name, maxNodeName)
	}
	return nil
}
