package command

import (
	"errors"
	"os"
	"strings"
)

const (
	trackerPath = "/opt/nodeadm/tracker"
	// trackerText is what an install with Roles Anywhere and containerd source none leaves.
	trackerText = "Artifacts:\n  CniPlugins: true\n  Containerd: none\n  IamAuthenticator: true\n  IamRolesAnywhere: true\n" +
		"  ImageCredentialProvider: true\n  Iptables: false\n  Kubectl: true\n  Kubelet: true\n  Ssm: false\n"
)

// tracker tells whether something is installed. An empty tracker file makes the real program dereference nil.
func (r *run) tracker() (installed bool, err error) {
	raw, err := os.ReadFile(r.path(trackerPath))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(string(raw)) == "" {
		return false, errPanic
	}
	return true, nil
}

func (r *run) upgrade(o options) error {
	if len(o.positional) == 0 {
		return usageError{upgradeHelp, "Required positional of subcommand upgrade named KUBERNETES_VERSION not found at position 1"}
	}
	r.log.info("upgrade/upgrade.go:111", "Loading installed components")
	installed, err := r.tracker()
	if err != nil {
		return err
	}
	if !installed {
		r.log.info("upgrade/upgrade.go:114", "No nodeadm components installed. Please use nodeadm install and nodeadm init commands to bootstrap a node")
		return nil
	}
	return errors.New("this stand-in does not do an upgrade of an installed node yet: nothing was changed")
}
