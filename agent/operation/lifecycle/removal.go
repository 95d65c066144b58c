package lifecycle

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// MountPoints lists the paths on which something is mounted (proc(5), mountinfo),
// bind mounts and single files included.
func MountPoints() ([]string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot tell what is mounted: %w", err)
	}
	defer func() { _ = file.Close() }()
	return parseMounts(file)
}

func parseMounts(r io.Reader) ([]string, error) {
	var points []string
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 5 {
			return nil, fmt.Errorf("cannot tell what is mounted: mountinfo has the line %q", scanner.Text())
		}
		points = append(points, unescaped(fields[4]))
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("cannot tell what is mounted: %w", err)
	}
	return points, nil
}

// unescaped reads the octal escapes of mountinfo: space, tab, newline, backslash.
func unescaped(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if code, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// removeTree removes a folder but for mount points and what is below and above
// them, which it returns. It is confined to the folder: no symbolic link is
// followed, not even one that takes a folder's place meanwhile. A folder that is
// not there is no error.
func removeTree(path string, mounts []string) (left []string, err error) {
	above, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(above)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Lstat(filepath.Base(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &remover{mounts: mounts}
	_, err = r.entry(dir, fs.FileInfoToDirEntry(info), filepath.Join(above, filepath.Base(path)))
	return r.left, err
}

// remover removes one tree.
type remover struct {
	mounts []string
	left   []string
}

// below removes what is in an open folder, whose path is for comparing with mount
// points; it reports whether all of it is gone.
func (r *remover) below(dir *os.Root, path string) (bool, error) {
	handle, err := dir.Open(".")
	if err != nil {
		return false, err
	}
	entries, err := handle.ReadDir(-1)
	if err := errors.Join(err, handle.Close()); err != nil {
		return false, err
	}
	empty := true
	for _, entry := range entries {
		gone, err := r.entry(dir, entry, filepath.Join(path, entry.Name()))
		if err != nil {
			return false, err
		}
		empty = empty && gone
	}
	return empty, nil
}

func (r *remover) entry(dir *os.Root, entry fs.DirEntry, path string) (bool, error) {
	if slices.Contains(r.mounts, path) {
		r.left = append(r.left, path)
		return false, nil
	}
	if entry.IsDir() {
		sub, err := dir.OpenRoot(entry.Name())
		if err != nil {
			return false, err
		}
		if same, err := sameMount(dir, sub); err != nil || !same {
			// Mounted since mountinfo was read.
			r.left = append(r.left, path)
			return false, errors.Join(err, sub.Close())
		}
		empty, err := r.below(sub, path)
		if err := errors.Join(err, sub.Close()); err != nil || !empty {
			return false, err
		}
	}
	err := dir.Remove(entry.Name())
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return true, nil
	case errors.Is(err, syscall.EBUSY):
		// Mounted since mountinfo was read.
		r.left = append(r.left, path)
		return false, nil
	}
	return false, err
}

// sameMount says whether two open folders are of the same mount. The numbers of
// devices would not tell a bind mount (statx(2), STATX_MNT_ID, Linux 5.8).
func sameMount(one, other *os.Root) (bool, error) {
	first, err := mountOf(one)
	if err != nil {
		return false, err
	}
	second, err := mountOf(other)
	return first == second, err
}

// mountOf is the ID of the mount that an open folder is of.
func mountOf(dir *os.Root) (uint64, error) {
	handle, err := dir.Open(".")
	if err != nil {
		return 0, err
	}
	defer func() { _ = handle.Close() }()
	var stat unix.Statx_t
	if err := unix.Statx(int(handle.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stat); err != nil {
		return 0, fmt.Errorf("cannot tell which mount %s is of: %w", dir.Name(), err)
	}
	if stat.Mask&unix.STATX_MNT_ID == 0 {
		return 0, fmt.Errorf("cannot tell which mount %s is of: the kernel does not say (Linux 5.8 does)", dir.Name())
	}
	return stat.Mnt_id, nil
}
