package nodeadm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// Evidence tells whether a command has written or removed its files: each file's
// identity and time of change, with "empty" before those without content. nodeadm exits 0 having done nothing in several cases, so
// its exit code alone proves nothing.
type Evidence map[string]string

// ReadEvidence reads the state of the files that the command writes, below root.
func ReadEvidence(root string, command Command) (Evidence, error) {
	evidence := Evidence{}
	for _, path := range command.watches() {
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
		if info.Size() == 0 {
			stamp = emptyFile + stamp
		}
		evidence[path] = stamp
	}
	return evidence, nil
}

// emptyFile stands before the stamp of a file without content, as a power cut may
// leave one.
const emptyFile = "empty "

// Command is one of nodeadm's commands.
type Command string

// The commands that the agent runs.
const (
	Install     Command = "install"
	ConfigCheck Command = "config check"
	Init        Command = "init"
	Upgrade     Command = "upgrade"
	Uninstall   Command = "uninstall"
)

// writes names the files that every successful run of the command writes anew,
// seen with v1.0.20 on first and on repeated runs.
func (c Command) writes() []string {
	switch c {
	case Install:
		return []string{TrackerPath}
	case Init, Upgrade:
		return []string{KubeconfigPath, kubeletConfigPath}
	case ConfigCheck, Uninstall:
	}
	return nil
}

// removes names the files that are gone after every successful run.
func (c Command) removes() []string {
	if c == Uninstall {
		return []string{TrackerPath, KubeletPath, KubeconfigPath}
	}
	return nil
}

// watches names the files that tell how a run went: what it writes or removes,
// and what it crashes on.
func (c Command) watches() []string {
	watched := append(c.writes(), c.removes()...)
	if c == Uninstall {
		watched = append(watched, kubeletConfigPath)
	}
	return watched
}

// untouched returns the first file that the command should have written and
// did not.
func (c Command) untouched(before, after Evidence) (string, bool) {
	for _, path := range c.writes() {
		if after[path] == "" || strings.HasPrefix(after[path], emptyFile) || after[path] == before[path] {
			return path, true
		}
	}
	return "", false
}

// left returns the first file that the command should have removed and did not.
func (c Command) left(after Evidence) (string, bool) {
	for _, path := range c.removes() {
		if after[path] != "" {
			return path, true
		}
	}
	return "", false
}
