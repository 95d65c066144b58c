package tools

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"hybridagent/test/fakenodeadm/lab"
)

// Containerd listens on containerd's socket and serves nothing, until SIGTERM.
func Containerd() error {
	for _, dir := range []string{"/opt/containerd/bin", "/opt/containerd/lib"} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
	}
	const socket = "/run/containerd/containerd.sock"
	if err := os.MkdirAll(filepath.Dir(socket), 0o711); err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer l.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
	return nil
}

const (
	containerdConfig     = "/etc/containerd/config.toml"
	realContainerdConfig = "/run/fakenodeadm/containerd.toml"
)

// RealContainerd turns this process into the real containerd that the lab names. It returns only when that fails.
func RealContainerd(settings lab.Kubelet, environ []string) error {
	raw, err := os.ReadFile(containerdConfig)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(realContainerdConfig), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(realContainerdConfig, []byte(labContainerdConfig(string(raw), settings.SandboxImage)), 0o644); err != nil {
		return err
	}
	env := []string{"PATH=" + filepath.Dir(settings.Containerd) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "PATH=") {
			env = append(env, kv)
		}
	}
	err = syscall.Exec(settings.Containerd, []string{settings.Containerd, "--config", realContainerdConfig}, env)
	return fmt.Errorf("cannot start the real containerd %s: %w", settings.Containerd, err)
}

// labContainerdConfig is nodeadm's configuration for a host in namespaces: cgroupfs in place of systemd's cgroups, no negative
// OOM scores, and the lab's own pause image.
func labContainerdConfig(text, sandbox string) string {
	const cri = `[plugins."io.containerd.grpc.v1.cri"]`
	text = strings.ReplaceAll(text, "SystemdCgroup = true", "SystemdCgroup = false")
	if !strings.Contains(text, cri+"\n") {
		text += "\n" + cri + "\n" // before nodeadm wrote its own
	}
	if sandbox != "" {
		text = regexp.MustCompile(`(?m)^\s*sandbox_image = .*\n`).ReplaceAllString(text, "")
		text = strings.Replace(text, cri+"\n", fmt.Sprintf("%s\n    sandbox_image = %q\n", cri, sandbox), 1)
	}
	return strings.Replace(text, cri+"\n", cri+"\n    restrict_oom_score_adj = true\n", 1)
}
