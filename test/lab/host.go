package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Host is one host of a site.
type Host struct {
	// Name is the host's name in the site and, on an edge host, its host name.
	Name string
	// Folder is the host's folder on the machine: its logs, and whatever its programs keep where the host has no files of its own.
	Folder string

	site   *Site
	spaces spaces
	root   string
	init   int
}

// EdgeName is the name of the nth edge host, counted from 1.
func EdgeName(n int) string { return fmt.Sprintf("edge-%d", n) }

// Do runs fn on a thread inside the host: its network, and on an edge host its files. fn must not start goroutines that need either.
func (h *Host) Do(fn func() error) error { return h.spaces.do(fn) }

// Path is where the machine finds a file of the host. On hosts without files of their own that is the path itself.
func (h *Host) Path(path string) string { return filepath.Join(h.root, path) }

// NetNS is the path, on the machine, of the host's network namespace.
func (h *Host) NetNS() string { return h.spaces.net }

// Sysctl sets a value below /proc/sys/net of the host; the name is written with slashes.
func (h *Host) Sysctl(name, value string) error {
	err := h.Do(func() error { return os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644) })
	if err != nil {
		return fmt.Errorf("cannot set net/%s on %s: %w", name, h.Name, err)
	}
	return nil
}

// IP runs lines of ip(8) commands, without the word ip, as one batch.
func (h *Host) IP(ctx context.Context, lines ...string) error {
	cmd := h.Command(ctx, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot set up the network of %s: %w: %s", h.Name, err, strings.TrimSpace(out))
	}
	return nil
}

// WriteFile writes a file in the host with its folders (mode 0755); uid and gid own the file.
func (h *Host) WriteFile(path string, data []byte, mode os.FileMode, uid, gid int) error {
	err := h.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, mode); err != nil {
			return err
		}
		return errors.Join(os.Chmod(path, mode), os.Chown(path, uid, gid))
	})
	if err != nil {
		return fmt.Errorf("cannot write %s on %s: %w", path, h.Name, err)
	}
	return nil
}

// Mkdir makes a folder in the host, with its parents.
func (h *Host) Mkdir(path string, mode os.FileMode, uid, gid int) error {
	err := h.Do(func() error {
		if err := os.MkdirAll(path, mode); err != nil {
			return err
		}
		return errors.Join(os.Chmod(path, mode), os.Chown(path, uid, gid))
	})
	if err != nil {
		return fmt.Errorf("cannot make folder %s on %s: %w", path, h.Name, err)
	}
	return nil
}

// ReadFile reads a file of the host.
func (h *Host) ReadFile(path string) ([]byte, error) {
	var data []byte
	err := h.Do(func() (err error) {
		data, err = os.ReadFile(path)
		return err
	})
	return data, err
}

// hostSpecs describe the edge hosts with files and processes of their own.
func (s *Site) hostSpecs(opts Options) []hostSpec {
	specs := make([]hostSpec, opts.Edges)
	for i := range specs {
		name := EdgeName(i + 1)
		specs[i] = hostSpec{
			Hostname:    name,
			Site:        s.Name,
			Memory:      filepath.Join(s.Folder, "mem", name),
			MachineID:   MachineID(s.Name, i+1),
			ProductUUID: ProductUUID(s.Name, i+1),
			Files:       opts.Files,
			Users:       opts.Users,
		}
	}
	return specs
}

// newHost refers to a host by its site's init and, where it has one, its own; own is a process number inside the site, 0 for none.
func newHost(s *Site, name string, siteInit, own int) *Host {
	h := &Host{Name: name, Folder: filepath.Join(s.Folder, name), site: s, init: own, root: "/"}
	site := fmt.Sprintf("/proc/%d", siteInit)
	h.spaces = spaces{net: site + "/root" + filepath.Join(netnsFolder, name), pid: site + "/ns/pid", mnt: site + "/ns/mnt"}
	if own != 0 {
		// The site's own /proc is reached through the root of its init.
		process := fmt.Sprintf("%s/root/proc/%d", site, own)
		h.root = process + "/root"
		h.spaces.uts, h.spaces.pid, h.spaces.mnt = process+"/ns/uts", process+"/ns/pid", process+"/ns/mnt"
	}
	return h
}
