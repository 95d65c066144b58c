package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The machine's files that an edge host sees, each through an overlay that takes all changes.
func overlaidFolders() []string {
	return []string{"etc", "usr", "opt", "var", "bin", "sbin", "lib", "lib32", "lib64", "libx32"}
}

// Paths of the machine that an edge host must not see: a newcomer may be a node, or run the product, on the same machine.
func hiddenPaths() []string {
	return []string{
		"/etc/hybrid-agent", "/var/lib/hybrid-agent", "/var/lib/hybrid-agent-op", "/usr/bin/hybrid-agent", "/usr/libexec/hybrid-agent",
		"/etc/kubernetes", "/etc/eks", "/etc/aws", "/etc/iam", "/opt/nodeadm", "/opt/cni", "/var/lib/kubelet", "/usr/bin/kubelet",
		"/usr/local/bin/nodeadm", "/usr/local/bin/kubectl", "/usr/local/bin/aws_signing_helper", "/usr/local/bin/aws-iam-authenticator",
	}
}

// buildRoot makes the host's root and moves into it. Nothing that is written there reaches the machine.
func buildRoot(spec hostSpec) error {
	root := filepath.Join(spec.Memory, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make the host's mounts private: %w", err)
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot bind the host's root: %w", err)
	}
	for _, name := range overlaidFolders() {
		if err := overlayFolder(spec.Memory, root, name); err != nil {
			return err
		}
	}
	if err := makeFolders(root); err != nil {
		return err
	}
	if err := mountDevices(filepath.Join(root, "dev")); err != nil {
		return err
	}
	if err := mountSys(root, spec); err != nil {
		return err
	}
	for _, path := range hiddenPaths() {
		if err := os.RemoveAll(filepath.Join(root, path)); err != nil {
			return fmt.Errorf("cannot hide the machine's %s: %w", path, err)
		}
	}
	if err := identify(root, spec); err != nil {
		return err
	}
	for target, source := range spec.Files {
		if err := bindFile(source, filepath.Join(root, target)); err != nil {
			return err
		}
	}
	return moveRoot(root)
}

// overlayFolder shows the machine's /name in the host. A link (as /bin to usr/bin) stays a link; a folder that the machine lacks is made empty.
func overlayFolder(memory, root, name string) error {
	target := filepath.Join(root, name)
	info, err := os.Lstat("/" + name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if strings.HasPrefix(name, "lib") {
			return nil
		}
		return os.MkdirAll(target, 0o755)
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := os.Readlink("/" + name)
		if err != nil {
			return err
		}
		if err := os.Symlink(link, target); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	}
	upper, work := filepath.Join(memory, name, "upper"), filepath.Join(memory, name, "work")
	for _, folder := range []string{target, upper, work} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	return mountAt("overlay", target, "overlay", 0, fmt.Sprintf("lowerdir=/%s,upperdir=%s,workdir=%s", name, upper, work))
}

func makeFolders(root string) error {
	folders := map[string]os.FileMode{
		"home": 0o755, "root": 0o700, "tmp": 0o777 | os.ModeSticky, "run": 0o755, "srv": 0o755, "mnt": 0o755, "media": 0o755, "boot": 0o755,
		"proc": 0o555, "sys": 0o555, "dev": 0o755,
	}
	for name, mode := range folders {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return errors.Join(
		mountAt("tmpfs", filepath.Join(root, "run"), "tmpfs", 0, "mode=0755"),
		mountAt("proc", filepath.Join(root, "proc"), "proc", 0, ""),
	)
}

// mountDevices gives the host the devices that every program may expect and none of the machine's own.
func mountDevices(dev string) error {
	if err := mountAt("tmpfs", dev, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := bindFile("/dev/"+name, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	shm := filepath.Join(dev, "shm")
	if err := os.Mkdir(shm, 0o755); err != nil {
		return err
	}
	return mountAt("tmpfs", shm, "tmpfs", 0, "mode=1777")
}

// mountSys gives the host a view of /sys for its own network and the SMBIOS values of a machine of its own. Where the machine has no
// /sys/class/dmi, a tmpfs replaces /sys/class and shows the classes that are of use.
func mountSys(root string, spec hostSpec) error {
	sys := filepath.Join(root, "sys")
	if err := mountAt("sysfs", sys, "sysfs", 0, ""); err != nil {
		return err
	}
	class := filepath.Join(sys, "class")
	original := filepath.Join(spec.Memory, "class")
	if err := os.MkdirAll(original, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(class, original, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot bind /sys/class: %w", err)
	}
	if err := mountAt("tmpfs", class, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, name := range []string{"net", "mem", "tty", "block"} {
		target := filepath.Join(class, name)
		if _, err := os.Stat(filepath.Join(original, name)); err != nil {
			continue
		}
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(filepath.Join(original, name), target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot bind /sys/class/%s: %w", name, err)
		}
	}
	id := filepath.Join(class, "dmi/id")
	if err := os.MkdirAll(id, 0o755); err != nil {
		return err
	}
	values := map[string]string{"product_uuid": spec.ProductUUID, "sys_vendor": "hybrid lab", "product_name": "edge host"}
	for name, value := range values {
		if err := os.WriteFile(filepath.Join(id, name), []byte(value+"\n"), 0o400); err != nil {
			return err
		}
	}
	return nil
}

// bindFile shows the machine's file source at target.
func bindFile(source, target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(target, nil, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot show %s in the host: %w", source, err)
	}
	return nil
}

// moveRoot makes root the host's root and lets go of the machine's.
func moveRoot(root string) error {
	old := filepath.Join(root, ".old")
	if err := os.MkdirAll(old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, old); err != nil {
		return fmt.Errorf("cannot change to the host's root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot let go of the machine's root: %w", err)
	}
	return os.Remove("/.old")
}
