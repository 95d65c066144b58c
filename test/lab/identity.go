package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// identify writes what makes the host a host of its own: names, machine ID, users, resolver.
func identify(root string, spec hostSpec) error {
	hosts := fmt.Sprintf("127.0.0.1 localhost\n127.0.1.1 %s\n", spec.Hostname)
	err := errors.Join(
		replaceFile(root, "etc/hostname", spec.Hostname+"\n", 0o644),
		replaceFile(root, "etc/machine-id", spec.MachineID+"\n", 0o444),
		replaceFile(root, "etc/hosts", hosts, 0o644),
		replaceFile(root, "etc/resolv.conf", "# the lab has no name server\n", 0o644),
		replaceFile(root, "etc/fstab", "# no disks of its own\n/swapfile none swap sw 0 0\n", 0o644),
		writeMarker(filepath.Join(root, "run"), spec.Site),
	)
	if err != nil {
		return err
	}
	for _, user := range spec.Users {
		if err := addUser(root, user, spec.Users); err != nil {
			return fmt.Errorf("cannot add user %s: %w", user.Name, err)
		}
	}
	return nil
}

// replaceFile replaces whatever is at the path, also a link: it might lead out of the host.
func replaceFile(root, path, content string, mode os.FileMode) error {
	full := filepath.Join(root, path)
	if err := os.RemoveAll(full); err != nil {
		return err
	}
	if err := os.WriteFile(full, []byte(content), mode); err != nil {
		return err
	}
	return os.Chmod(full, mode)
}

// addUser adds the user and its group, in place of one of the same name that the machine may have.
func addUser(root string, user User, all []User) error {
	var members []string
	for _, other := range all {
		if slices.Contains(other.Groups, user.Name) {
			members = append(members, other.Name)
		}
	}
	group := fmt.Sprintf("%s:x:%d:%s", user.Name, user.ID, strings.Join(members, ","))
	if err := setLine(filepath.Join(root, "etc/group"), user.Name, group); err != nil {
		return err
	}
	if user.NoUser {
		return nil
	}
	line := fmt.Sprintf("%s:x:%d:%d::/nonexistent:/usr/sbin/nologin", user.Name, user.ID, user.ID)
	return setLine(filepath.Join(root, "etc/passwd"), user.Name, line)
}

func setLine(path, name, line string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimRight(string(data), "\n"), "\n"), func(l string) bool {
		return strings.HasPrefix(l, name+":")
	})
	return os.WriteFile(path, []byte(strings.Join(append(lines, line), "\n")+"\n"), 0o644)
}
