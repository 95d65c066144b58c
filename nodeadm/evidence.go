package nodeadm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Files that a command leaves behind when it has done something.
const (
	// KubeconfigPath is kubelet's kubeconfig, written by init.
	KubeconfigPath = "/var/lib/kubelet/kubeconfig"
	// kubeletConfigPath is kubelet's configuration, written by init.
	kubeletConfigPath = "/etc/kubernetes/kubelet/config.json"
	// ContainerdConfigPath is where init puts a NodeConfig's containerd configuration.
	// It stays when a later NodeConfig has none, and containerd goes on reading it.
	ContainerdConfigPath = "/etc/containerd/config.d/00-nodeadm.toml"
	// KubeletPath is the kubelet binary, written by install.
	KubeletPath = "/usr/bin/kubelet"
)

// Evidence tells whether a command has written its files: each file's identity
// and time of change. nodeadm exits 0 having done nothing in several cases, so
// its exit code alone proves nothing.
type Evidence map[string]string

// ReadEvidence reads the state of the files that the command writes, below root.
func ReadEvidence(root string, command Command) (Evidence, error) {
	evidence := Evidence{}
	for _, path := range command.writes() {
		info, err := os.Stat(filepath.Join(root, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot look at %s: %w", path, err)
		}
		stamp := fmt.Sprintf("%d.%09d", info.ModTime().Unix(), info.ModTime().Nanosecond())
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			stamp = fmt.Sprintf("%d %s %d.%09d", stat.Ino, stamp, stat.Ctim.Sec, stat.Ctim.Nsec)
		}
		evidence[path] = stamp
	}
	return evidence, nil
}

// Command is one of nodeadm's commands.
type Command string

// The commands that the agent runs.
const (
	Install     Command = "install"
	ConfigCheck Command = "config check"
	Init        Command = "init"
)

// writes names the files that every successful run of the command writes anew,
// seen with v1.0.20 on first and on repeated runs.
func (c Command) writes() []string {
	switch c {
	case Install:
		return []string{TrackerPath}
	case Init:
		return []string{KubeconfigPath, kubeletConfigPath}
	default:
		return nil
	}
}

// untouched returns the first file that the command should have written and
// did not.
func (c Command) untouched(before, after Evidence) (string, bool) {
	for _, path := range c.writes() {
		if after[path] == "" || after[path] == before[path] {
			return path, true
		}
	}
	return "", false
}
