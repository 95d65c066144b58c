package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// removalEnv has the test binary remove a tree in a mount namespace of its own.
const removalEnv = "LIFECYCLE_REMOVE_BELOW"

// removeInNamespace is what the child does: it mounts, removes, and prints what was
// left.
func removeInNamespace(dir string) error {
	data, tree := filepath.Join(dir, "data"), filepath.Join(dir, "tree")
	for _, mount := range []struct{ from, to string }{
		{data, filepath.Join(tree, "pods/a/volumes/pv with a space")},
		{filepath.Join(data, "file"), filepath.Join(tree, "pods/b/bound")},
		{data, filepath.Join(dir, "whole")},
	} {
		if err := unix.Mount(mount.from, mount.to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot mount on %s: %w", mount.to, err)
		}
	}
	mounts, err := MountPoints()
	if err != nil {
		return err
	}
	// Mounted after mountinfo was read; the last is the tree itself.
	for _, late := range []string{filepath.Join(tree, "pods/c/late"), filepath.Join(dir, "later")} {
		if err := unix.Mount(data, late, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot mount on %s: %w", late, err)
		}
	}
	for _, path := range []string{tree, filepath.Join(dir, "later"), filepath.Join(dir, "whole"), filepath.Join(dir, "link"), filepath.Join(dir, "nothing"), filepath.Join(dir, "no/where")} {
		left, err := removeTree(path, mounts)
		if err != nil {
			return err
		}
		for _, one := range left {
			fmt.Println(one)
		}
	}
	return nil
}

// TestRemovalLeavesMountedData: a PersistentVolume and a bind-mounted file below
// /var/lib/kubelet/pods, and a folder that is itself a bind mount, stay with what is
// in them, also where they were mounted after the mounts were listed; symbolic links
// are removed and not followed.
func TestRemovalLeavesMountedData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{"data/file", "tree/pods/a/volumes/pv with a space/hidden", "tree/pods/b/bound", "tree/pods/c/late/hidden", "later/hidden", "tree/pki/cert", "tree/config", "elsewhere/precious", "whole/hidden"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, path), []byte("x"))
	}
	for _, link := range []string{"link", "tree/link"} {
		if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), removalEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := []string{filepath.Join(dir, "later"), filepath.Join(dir, "tree/pods/a/volumes/pv with a space"), filepath.Join(dir, "tree/pods/b/bound"), filepath.Join(dir, "tree/pods/c/late"), filepath.Join(dir, "whole")}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
	for path, there := range map[string]bool{
		"data/file": true, "elsewhere/precious": true, "tree/pods/a/volumes/pv with a space/hidden": true, "whole/hidden": true,
		"later/hidden": true, "tree/pods/c/late/hidden": true,
		"tree/pki": false, "tree/config": false, "tree/link": false, "link": false,
	} {
		if _, err := os.Lstat(filepath.Join(dir, path)); errors.Is(err, os.ErrNotExist) == there {
			t.Errorf("%s: %v, want it there: %v", path, err, there)
		}
	}
}

// TestParseMounts reads mountinfo's escapes.
func TestParseMounts(t *testing.T) {
	t.Parallel()
	points, err := parseMounts(strings.NewReader("36 35 98:0 /mnt1 /a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw\n37 35 0:1 / /d rw - tmpfs t rw\n"))
	if err != nil || !slices.Equal(points, []string{`/a b\c`, "/d"}) {
		t.Errorf("parseMounts = %q, %v", points, err)
	}
	if _, err := parseMounts(strings.NewReader("36 35\n")); err == nil {
		t.Error("a short line was read")
	}
}
