package nodeadm

import (
	"fmt"
	"strings"
	"time"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// ConfigURI is how nodeadm takes the path of a NodeConfig.
func ConfigURI(path string) string { return "file://" + path }

// InstallArgs returns the arguments, without the program, of nodeadm install.
// manifest is a file:// or https:// URI, or empty for nodeadm's own. timeout is
// nodeadm's -t, which does not reach its children: the caller needs a deadline
// of its own that is a little longer.
func InstallArgs(spec *agentv1.NodeSpec, manifest string, timeout time.Duration) ([]string, error) {
	provider, err := provider(spec)
	if err != nil {
		return nil, err
	}
	args := []string{
		"install", spec.GetKubernetesVersion(),
		"-p", provider,
		"-s", ContainerdSource(spec),
		"-r", spec.GetRegion(),
		"-t", timeout.String(),
	}
	if manifest != "" {
		args = append(args, "-m", manifest)
	}
	if spec.GetPrivateMode() {
		args = append(args, "--private-mode")
	}
	return args, nil
}

// ConfigCheckArgs returns the arguments of nodeadm config check.
func ConfigCheckArgs(configPath string) []string {
	return []string{"config", "check", "-c", ConfigURI(configPath)}
}

// InitArgs returns the arguments of nodeadm init. --skip none is no mistake:
// without any --skip, init leaves out the check that the node can authenticate
// to the cluster (kubelet/daemon.go:53).
func InitArgs(spec *agentv1.NodeSpec, configPath, manifest string) []string {
	args := []string{"init", "-c", ConfigURI(configPath), "--skip", "none"}
	if manifest != "" {
		args = append(args, "-m", manifest)
	}
	if spec.GetPrivateMode() {
		args = append(args, "--private-mode")
	}
	return args
}

// Phases of nodeadm that --skip leaves out. Names are not validated by nodeadm,
// and the list in its help is wrong.
const (
	// SkipPods leaves out the check that the node is drained, which counts finished
	// and static pods (internal/node/pods.go:62). Only to be given after a drain that
	// was verified otherwise.
	SkipPods = "pod-validation"
	// SkipNode leaves out the check that the node is cordoned.
	SkipNode = "node-validation"
)

// UpgradeArgs returns the arguments of nodeadm upgrade to the node part's version,
// newer or older: nodeadm has no guard, package change is one. timeout is -t, as
// of install. skip names phases to leave out; the caller answers for each.
func UpgradeArgs(spec *agentv1.NodeSpec, configPath, manifest string, timeout time.Duration, skip ...string) []string {
	args := []string{"upgrade", spec.GetKubernetesVersion(), "-c", ConfigURI(configPath), "-t", timeout.String()}
	if manifest != "" {
		args = append(args, "-m", manifest)
	}
	if spec.GetPrivateMode() {
		args = append(args, "--private-mode")
	}
	return append(args, skipArgs(skip)...)
}

// UninstallArgs returns the arguments of nodeadm uninstall. removeCNI is --force,
// which also removes /var/lib/cni and /etc/cni/net.d and skips no check.
func UninstallArgs(removeCNI bool, skip ...string) []string {
	args := []string{"uninstall"}
	if removeCNI {
		args = append(args, "--force")
	}
	return append(args, skipArgs(skip)...)
}

func skipArgs(skip []string) []string {
	if len(skip) == 0 {
		return nil
	}
	return []string{"--skip", strings.Join(skip, ",")}
}

// ContainerdSource returns where nodeadm takes containerd from: none unless the
// profile says otherwise, since distro upgrades the whole operating system.
func ContainerdSource(spec *agentv1.NodeSpec) string {
	if spec.GetContainerdSource() == "" {
		return "none"
	}
	return spec.GetContainerdSource()
}

// provider is the credential provider in nodeadm's words.
func provider(spec *agentv1.NodeSpec) (string, error) {
	switch {
	case spec.GetAccess().GetSsm() != nil:
		return ProviderSSM, nil
	case spec.GetAccess().GetIamRolesAnywhere() != nil:
		return ProviderRolesAnywhere, nil
	default:
		return "", fmt.Errorf("cannot install Kubernetes %s: no access management is set", spec.GetKubernetesVersion())
	}
}
