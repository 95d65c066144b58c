package command_test

import (
	"os"
	"path/filepath"
	"testing"

	"hybridagent/test/fakenodeadm/lab"
)

var uninstallArgs = []string{"uninstall"}

// TestKilledRuns: a run that is killed in a phase exits with 137 and leaves the file it was writing cut off; what brings the host
// back is what the recorded runs and nodeadm.md say.
func TestKilledRuns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command, phase string
		args           []string
		cutOff         string   // this file has 40 bytes or fewer
		gone           string   // or this one is gone
		again          int      // exit code of the same command afterwards
		repair         []string // a command that repairs first, where again is not 0
	}{
		{"install", "kubelet", installArgs, "/usr/bin/kubelet", "", 0, nil},
		{"install", "tracker", installArgs, "/opt/nodeadm/tracker", "", 1, nil}, // not YAML any more: remove it, install again
		{"init", "configure-aws", initArgs, "/etc/aws/hybrid/config", "", 0, nil},
		{"init", "containerd-config", initArgs, "/etc/modules-load.d/containerd.conf", "", 0, nil},
		{"init", "kubelet-config", initArgs, "/etc/kubernetes/kubelet/config.json", "", 0, nil},
		{"upgrade", "kubelet", upgradeArgs, "/usr/bin/kubelet", "", 0, nil},
		{"upgrade", "cni-plugins", upgradeArgs, "/opt/cni/plugins/cni-plugins.tgz", "", 0, nil},
		{"upgrade", "kubelet-config", upgradeArgs, "/etc/kubernetes/kubelet/config.json", "", 1, initArgs},
		{"upgrade", "containerd-start", upgradeArgs, "", "", 0, nil},
		{"upgrade", "drained", upgradeArgs, "", "", 0, nil},
		{"uninstall", "kubelet", uninstallArgs, "", "/usr/bin/kubelet", 0, nil},
		{"uninstall", "image-credential-provider", uninstallArgs, "", "/etc/eks", 0, nil},
	} {
		t.Run(c.command+" "+c.phase, func(t *testing.T) {
			t.Parallel()
			h := initialised(t)
			if c.command == "install" || c.command == "init" {
				h = freshHost(t)
			}
			if c.command == "init" {
				h.succeed(installArgs)
			}
			h.faults = []lab.Fault{{Command: c.command, Phase: c.phase, Action: "kill", Once: true}}
			h.fails(c.args, 137, "")
			if c.cutOff != "" {
				info, err := os.Stat(filepath.Join(h.root, c.cutOff))
				h.must(err)
				if info.Size() > 40 || info.Size() == 0 {
					t.Errorf("%s has %d bytes, want it cut off", c.cutOff, info.Size())
				}
			}
			if c.gone != "" {
				if _, err := os.Stat(filepath.Join(h.root, c.gone)); err == nil {
					t.Errorf("%s is still there", c.gone)
				}
			}
			h.fails(c.args, c.again, "")
			if c.repair != nil {
				h.succeed(c.repair)
				h.succeed(c.args)
			}
		})
	}
}

func TestAFaultMayNameTheVersion(t *testing.T) {
	t.Parallel()
	h := initialised(t)
	h.faults = []lab.Fault{{Command: "upgrade", Phase: "manifest", Action: "fail", Version: "1.31.5", Message: "only the new one"}}
	h.fails(upgradeArgs, 1, "only the new one")
	back := append([]string{}, upgradeArgs...)
	back[1] = "1.30"
	h.succeed(back)
}
