package artifacts

import (
	"fmt"
	"os"
	"path/filepath"
)

const containerdUnit = `[Unit]
Description=containerd (stand-in of the lab)

[Service]
ExecStart=/usr/bin/containerd
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`

// HostRoot writes below root what the OS image of a lab host must bring: nodeadm, containerd with its unit (enabled) and
// iptables, all stand-ins, an fstab, and the marker-less folder structure they need. It is for hosts without the real ones.
func HostRoot(root, binary string) error {
	data, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("cannot read the stand-in's binary: %w", err)
	}
	first := ""
	for _, path := range []string{"usr/local/bin/nodeadm", "usr/bin/containerd", "usr/sbin/iptables"} {
		dst := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		os.Remove(dst)
		if first != "" && os.Link(first, dst) == nil {
			continue
		}
		if err := os.WriteFile(dst, data, 0o755); err != nil {
			return fmt.Errorf("cannot write %s: %w", dst, err)
		}
		first = dst
	}
	return hostFiles(root)
}

func hostFiles(root string) error {
	wants := filepath.Join(root, "etc/systemd/system/multi-user.target.wants")
	for _, dir := range []string{wants, filepath.Join(root, "etc/containerd"), filepath.Join(root, "etc/sysctl.d"), filepath.Join(root, "etc/modules-load.d")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	unit := filepath.Join(root, "etc/systemd/system/containerd.service")
	if err := os.WriteFile(unit, []byte(containerdUnit), 0o644); err != nil {
		return err
	}
	os.Remove(filepath.Join(wants, "containerd.service"))
	if err := os.Symlink("/etc/systemd/system/containerd.service", filepath.Join(wants, "containerd.service")); err != nil {
		return err
	}
	fstab := filepath.Join(root, "etc/fstab")
	if _, err := os.Stat(fstab); os.IsNotExist(err) {
		return os.WriteFile(fstab, []byte("# no file systems\n"), 0o644)
	}
	return nil
}
