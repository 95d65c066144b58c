package command

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
)

const trackerPath = "/opt/nodeadm/tracker"

// tracked is what an install wrote down of itself.
type tracked struct {
	Containerd       string `yaml:"Containerd"`
	Iptables         bool   `yaml:"Iptables"`
	IamRolesAnywhere bool   `yaml:"IamRolesAnywhere"`
	Ssm              bool   `yaml:"Ssm"`
}

// text is the tracker file; the components that every install places are always there.
func (t tracked) text() string {
	return fmt.Sprintf("Artifacts:\n  CniPlugins: true\n  Containerd: %s\n  IamAuthenticator: true\n  IamRolesAnywhere: %t\n"+
		"  ImageCredentialProvider: true\n  Iptables: %t\n  Kubectl: true\n  Kubelet: true\n  Ssm: %t\n",
		t.Containerd, t.IamRolesAnywhere, t.Iptables, t.Ssm)
}

// tracker reads what is installed; nil means nothing. An empty tracker file makes the real program dereference nil.
func (r *run) tracker() (*tracked, error) {
	raw, err := os.ReadFile(r.path(trackerPath))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(string(raw)) == "" {
		return nil, errPanic
	}
	var file struct {
		Artifacts tracked `yaml:"Artifacts"`
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("invalid yaml data in tracker: %w", err)
	}
	return &file.Artifacts, nil
}
