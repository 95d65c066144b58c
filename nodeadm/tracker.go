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

// TrackerPath is where nodeadm notes what it installed. init, upgrade and
// uninstall exit 0 without doing anything when it is missing, and every command
// panics when it is empty.
const TrackerPath = "/opt/nodeadm/tracker"

// maxTracker bounds the tracker, in bytes; a real one has about 200.
const maxTracker = 64 << 10

// ErrNoTracker says that nodeadm has installed nothing here.
var ErrNoTracker = errors.New("nodeadm has installed nothing on this host: there is no tracker")

// Tracker is what nodeadm noted at the end of its last install. It holds no
// version.
type Tracker struct {
	Artifacts struct {
		// Containerd is none, distro or docker.
		Containerd       string `yaml:"Containerd"`
		Kubelet          bool   `yaml:"Kubelet"`
		Kubectl          bool   `yaml:"Kubectl"`
		IAMRolesAnywhere bool   `yaml:"IamRolesAnywhere"`
		SSM              bool   `yaml:"Ssm"`
	} `yaml:"Artifacts"`
}

// ReadTracker reads the tracker below root, which is "/" but in tests. Errors:
// ErrNoTracker where there is none, *BrokenTrackerError where it is of no use.
func ReadTracker(root string) (Tracker, error) {
	path := filepath.Join(root, TrackerPath)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Tracker{}, ErrNoTracker
	}
	if err != nil {
		return Tracker{}, fmt.Errorf("cannot read nodeadm's tracker: %w", err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxTracker))
	if err != nil {
		return Tracker{}, fmt.Errorf("cannot read nodeadm's tracker: %w", err)
	}
	var parsed struct {
		Tracker `yaml:",inline"`
	}
	if err := yaml.Unmarshal(content, &parsed); err != nil {
		return Tracker{}, &BrokenTrackerError{Path: path, Reason: err.Error()}
	}
	if parsed.Artifacts.Containerd == "" && !parsed.Artifacts.Kubelet {
		return Tracker{}, &BrokenTrackerError{Path: path, Reason: "it names no artifact"}
	}
	return parsed.Tracker, nil
}

// BrokenTrackerError says that the tracker is there but nodeadm would panic on
// it: it must be deleted and nodeadm install run again.
type BrokenTrackerError struct {
	// Path of the tracker.
	Path string
	// Reason says what is wrong with it.
	Reason string
}

// Error describes the damage.
func (e *BrokenTrackerError) Error() string {
	return fmt.Sprintf("cannot use nodeadm's tracker %s: %s", e.Path, e.Reason)
}

// RestoredTracker is a tracker as nodeadm v1.0.20 writes it at the end of an
// install of that node part. It stands in for one that was lost, without which
// uninstall removes nothing. Iptables stays false: packages of the operating
// system are left where they are.
func RestoredTracker(spec *agentv1.NodeSpec) ([]byte, error) {
	name, err := provider(spec)
	if err != nil {
		return nil, fmt.Errorf("cannot restore nodeadm's tracker: %w", err)
	}
	return fmt.Appendf(nil, `Artifacts:
  CniPlugins: true
  Containerd: %s
  IamAuthenticator: true
  IamRolesAnywhere: %t
  ImageCredentialProvider: true
  Iptables: false
  Kubectl: true
  Kubelet: true
  Ssm: %t
`, ContainerdSource(spec), name == ProviderRolesAnywhere, name == ProviderSSM), nil
}
