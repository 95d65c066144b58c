package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Variables that the program in the namespaces gets.
const (
	isolatedDir    = "KUBE_TEST_ISOLATED_DIR"
	isolatedCgroup = "KUBE_TEST_ISOLATED_CGROUP"
)

// cgroupPrefix and the number of the process that made it name a control group.
const cgroupPrefix = "hybrid-kube-"

// Isolation is what a program in namespaces of its own was given.
type Isolation struct {
	// Dir is an empty file system in memory, Cgroup a control group of its own.
	Dir, Cgroup string
	// Address is the host's only one.
	Address net.IP
}

// Isolate runs this program again with args, in namespaces of network, mounts and
// processes and with control groups of its own, and cleans up behind it. What it
// starts dies with it, and it dies with this program. It needs root.
func Isolate(ctx context.Context, dir string, args ...string) ([]byte, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a real kubelet needs root: run the test as root")
	}
	if err := removeLeftCgroups(); err != nil {
		return nil, err
	}
	cgroup := fmt.Sprintf("%s%d", cgroupPrefix, os.Getpid())
	for _, root := range cgroupRoots() {
		for _, node := range []string{"edge-1", "edge-2"} {
			if err := os.MkdirAll(filepath.Join(root, cgroup, node), 0o755); err != nil {
				return nil, fmt.Errorf("cannot make a control group: %w", err)
			}
		}
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), isolatedDir+"="+dir, isolatedCgroup+"=/"+cgroup)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	return out, errors.Join(err, removeCgroups(cgroup))
}

// Isolated prepares the namespaces that Isolate put this program into; ok is false
// where it did not.
func Isolated() (isolation Isolation, ok bool, err error) {
	isolation = Isolation{Dir: os.Getenv(isolatedDir), Cgroup: os.Getenv(isolatedCgroup), Address: net.IPv4(10, 200, 0, 11)}
	if isolation.Dir == "" {
		return Isolation{}, false, nil
	}
	for _, step := range []func() error{isolation.mounts, isolation.sysctls, isolation.network} {
		if err := step(); err != nil {
			return Isolation{}, true, fmt.Errorf("cannot prepare the namespaces: %w", err)
		}
	}
	return isolation, true, nil
}

// mounts hides the folders outside Dir that kubelet and containerd write to.
func (i Isolation) mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot keep mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	for _, target := range []string{i.Dir, "/run", "/var/log"} {
		if err := unix.Mount("tmpfs", target, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("cannot mount a tmpfs on %s: %w", target, err)
		}
	}
	return i.overlays()
}

// overlays take what nodeadm writes all over the host.
func (i Isolation) overlays() error {
	for _, target := range []string{"/etc", "/usr", "/opt", "/var/lib"} {
		upper := filepath.Join(i.Dir, "overlay", target, "upper")
		work := filepath.Join(i.Dir, "overlay", target, "work")
		for _, folder := range []string{upper, work} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount("overlay", target, "overlay", 0, "lowerdir="+target+",upperdir="+upper+",workdir="+work); err != nil {
			return fmt.Errorf("cannot mount an overlay on %s: %w", target, err)
		}
	}
	return nil
}

// sysctls puts files in the place of what kubelet would set for the whole machine
// (pkg/kubelet/cm, setupKernelTunables): it reads there what it wants and leaves
// it at that.
func (i Isolation) sysctls() error {
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		file := filepath.Join(i.Dir, "sysctl-"+strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot stand in for sysctl %s: %w", name, err)
		}
	}
	return nil
}

// network has one link with one address, and a default route for kubelet to see.
func (i Isolation) network() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "lan0"
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return err
	}
	for _, name := range []string{"lo", "lan0"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		if name == "lo" {
			continue
		}
		address := &netlink.Addr{IPNet: &net.IPNet{IP: i.Address, Mask: net.CIDRMask(24, 32)}}
		if err := netlink.AddrAdd(link, address); err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IPv4(10, 200, 0, 1)}); err != nil {
			return err
		}
	}
	return nil
}

// cgroupRoots are the hierarchies of control groups: one with version 2 only.
func cgroupRoots() []string {
	const base = "/sys/fs/cgroup"
	if _, err := os.Stat(base + "/cgroup.controllers"); err == nil {
		return []string{base}
	}
	roots, _ := filepath.Glob(base + "/*")
	return slices.DeleteFunc(roots, func(root string) bool {
		info, err := os.Lstat(root)
		return err != nil || !info.IsDir()
	})
}

// removeLeftCgroups removes those of earlier runs that were interrupted.
func removeLeftCgroups() error {
	var errs []error
	for _, root := range cgroupRoots() {
		left, _ := filepath.Glob(filepath.Join(root, cgroupPrefix+"*"))
		for _, folder := range left {
			if _, err := os.Stat("/proc/" + strings.TrimPrefix(filepath.Base(folder), cgroupPrefix)); err == nil {
				continue // that run goes on
			}
			errs = append(errs, removeCgroup(folder))
		}
	}
	return errors.Join(errs...)
}

func removeCgroups(name string) error {
	var errs []error
	for _, root := range cgroupRoots() {
		errs = append(errs, removeCgroup(filepath.Join(root, name)))
	}
	return errors.Join(errs...)
}

// removeCgroup removes one and all below it, waiting a while for processes that
// are being killed.
func removeCgroup(path string) error {
	var folders []string
	err := filepath.WalkDir(path, func(p string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, p)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, folder := range slices.Backward(folders) {
		err := unix.Rmdir(folder)
		for errors.Is(err, unix.EBUSY) && time.Now().Before(deadline) {
			<-time.After(50 * time.Millisecond)
			err = unix.Rmdir(folder)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("cannot remove control group %s: %w", folder, err)
		}
	}
	return nil
}
