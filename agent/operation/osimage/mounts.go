package osimage

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mount is a line of mountinfo (proc(5)).
type mount struct {
	point, fsType, source string
	readOnly              bool
	upper                 string // an overlay's writable folder
}

// readMounts reads the mounts of PID 1, or where that cannot be had those of this
// process, whose sandbox has some of its own.
func readMounts(root string) ([]mount, error) {
	file, err := os.Open(filepath.Join(root, "proc/1/mountinfo"))
	if err != nil {
		file, err = os.Open(filepath.Join(root, "proc/self/mountinfo"))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list mounts: %w", err)
	}
	defer func() { _ = file.Close() }()
	var mounts []mount
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if m, ok := parseMount(lines.Text()); ok {
			mounts = append(mounts, m)
		}
	}
	return mounts, nil
}

// parseMount reads one line: ID parent device root point options… - type source
// super-options.
func parseMount(line string) (mount, bool) {
	own, shared, found := strings.Cut(line, " - ")
	left, right := strings.Fields(own), strings.Fields(shared)
	if !found || len(left) < 6 || len(right) < 3 {
		return mount{}, false
	}
	m := mount{point: unescape(left[4]), fsType: right[0], source: unescape(right[1])}
	options := append(strings.Split(left[5], ","), strings.Split(right[2], ",")...)
	m.readOnly = slices.Contains(options, "ro")
	for _, option := range options {
		if upper, ok := strings.CutPrefix(option, "upperdir="); ok {
			m.upper = unescape(upper)
		}
	}
	return m, true
}

// unescape undoes the octal escapes of mountinfo.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// persistent reports whether what is written below a path is there after another
// image was booted: it lies in a writable file system on a disk. An image's own
// root is read-only or an overlay over memory.
func persistent(mounts []mount, path string) bool {
	for depth := 0; depth < 4; depth++ {
		m, ok := covering(mounts, path)
		if !ok || m.readOnly {
			return false
		}
		if m.fsType == "overlay" && m.upper != "" {
			path = m.upper
			continue
		}
		return slices.Contains([]string{"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs"}, m.fsType)
	}
	return false
}

// covering is the mount that a path lies in: the longest, and of equal ones the
// last.
func covering(mounts []mount, path string) (mount, bool) {
	var best mount
	found := false
	for _, m := range mounts {
		if path != m.point && m.point != "/" && !strings.HasPrefix(path, m.point+"/") {
			continue
		}
		if !found || len(m.point) >= len(best.point) {
			best, found = m, true
		}
	}
	return best, found
}

// DefaultPaths are the folders that must outlive a change of the image: those of
// the product's user-data, kubelet's own, and this agent's identity and journal.
func DefaultPaths() []string {
	return []string{
		"/eks-hybrid", "/etc/aws", "/etc/containerd", "/etc/eks", "/etc/iam", "/etc/modules-load.d", "/var/lib/amazon",
		"/etc/kubernetes", "/var/lib/kubelet", "/var/lib/hybrid-agent", "/var/lib/hybrid-agent-op",
	}
}

// missing are the paths that would be lost.
func missing(root string, paths []string) ([]string, error) {
	mounts, err := readMounts(root)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, path := range paths {
		if !persistent(mounts, path) {
			out = append(out, path)
		}
	}
	return out, nil
}
