package nodeadm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// maxHostFile bounds each file that ReadHost reads, in bytes.
const maxHostFile = 1 << 20

// TrackerState is what is left of nodeadm's tracker.
type TrackerState string

// The states of the tracker.
const (
	// TrackerNone: there is none. init, upgrade and uninstall exit 0 and do nothing.
	TrackerNone TrackerState = "none"
	// TrackerOK: it can be used.
	TrackerOK TrackerState = "ok"
	// TrackerBroken: every command panics on it, install too.
	TrackerBroken TrackerState = "broken"
)

// The credential providers in nodeadm's words.
const (
	ProviderSSM           = "ssm"
	ProviderRolesAnywhere = "iam-ra"
)

// Host is what nodeadm's own files tell of a host.
type Host struct {
	// Tracker says whether nodeadm's commands can work at all.
	Tracker TrackerState
	// Provider is ssm or iam-ra, and ContainerdSource none, distro or docker, as the
	// tracker has it; empty where the tracker cannot be used.
	Provider, ContainerdSource string
	// Kubelet says whether the kubelet binary is there.
	Kubelet bool
	// KubeletConfigEmpty says that kubelet's configuration is there without content,
	// as a power cut may leave it: upgrade panics on it, and uninstall while
	// kubelet runs.
	KubeletConfigEmpty bool
	// Kubeconfig says whether kubelet's kubeconfig is there: it was initialised once.
	Kubeconfig bool
	// Cluster and Region are those that the kubeconfig authenticates to; empty
	// where that cannot be told.
	Cluster, Region string
}

// ReadHost reads what nodeadm left on the host below root, which is "/" but in
// tests. What is damaged is part of the answer, not an error.
func ReadHost(root string) (Host, error) {
	var host Host
	tracker, err := ReadTracker(root)
	var broken *BrokenTrackerError
	switch {
	case errors.Is(err, ErrNoTracker):
		host.Tracker = TrackerNone
	case errors.As(err, &broken):
		host.Tracker = TrackerBroken
	case err != nil:
		return Host{}, err
	default:
		host.Tracker = TrackerOK
		host.Provider, host.ContainerdSource = tracker.Provider(), tracker.Artifacts.Containerd
	}
	kubelet, err := os.Stat(filepath.Join(root, KubeletPath))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Host{}, fmt.Errorf("cannot look for kubelet: %w", err)
	}
	host.Kubelet = err == nil && kubelet.Size() > 0
	config, err := os.Stat(filepath.Join(root, kubeletConfigPath))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Host{}, fmt.Errorf("cannot look at kubelet's configuration: %w", err)
	}
	host.KubeletConfigEmpty = err == nil && config.Size() == 0
	return host, host.readKubeconfig(root)
}

// readKubeconfig finds cluster and Region among the arguments of the program
// that authenticates kubelet: nodeadm's template names both there.
func (h *Host) readKubeconfig(root string) error {
	file, err := os.Open(filepath.Join(root, KubeconfigPath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read kubelet's kubeconfig: %w", err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxHostFile))
	if err != nil {
		return fmt.Errorf("cannot read kubelet's kubeconfig: %w", err)
	}
	h.Kubeconfig = len(content) > 0
	var kubeconfig struct {
		Users []struct {
			User struct {
				Exec struct {
					Args []string `yaml:"args"`
				} `yaml:"exec"`
			} `yaml:"user"`
		} `yaml:"users"`
	}
	if yaml.Unmarshal(content, &kubeconfig) != nil || len(kubeconfig.Users) == 0 {
		return nil
	}
	args := kubeconfig.Users[0].User.Exec.Args
	for i := range len(args) - 1 {
		switch args[i] {
		case "--cluster-id", "-i":
			h.Cluster = args[i+1]
		case "--region":
			h.Region = args[i+1]
		}
	}
	return nil
}

// Provider is the credential provider in nodeadm's words, or empty.
func (t Tracker) Provider() string {
	switch {
	case t.Artifacts.SSM:
		return ProviderSSM
	case t.Artifacts.IAMRolesAnywhere:
		return ProviderRolesAnywhere
	}
	return ""
}

// Provider is the credential provider of a node part in nodeadm's words, or
// empty where none is set.
func Provider(spec *agentv1.NodeSpec) string {
	name, err := provider(spec)
	if err != nil {
		return ""
	}
	return name
}
