package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const cgroupPrefix = "hybrid-lab-"

// cgroupRoots are the folders below which a systemd host gets a control group of its own: two on a machine with the hybrid layout, one on a
// machine with control groups version 2 only.
func cgroupRoots() []string {
	const base = "/sys/fs/cgroup"
	if _, err := os.Stat(base + "/cgroup.controllers"); err == nil {
		return []string{base}
	}
	var roots []string
	for _, name := range []string{"unified", "systemd"} {
		if info, err := os.Stat(filepath.Join(base, name)); err == nil && info.IsDir() {
			roots = append(roots, filepath.Join(base, name))
		}
	}
	return roots
}

func cgroupName(site, host string) string { return cgroupPrefix + site + "-" + host }

// removeSiteCgroups removes the empty control groups of every host of the site.
func removeSiteCgroups(site string) error {
	var errs []error
	for _, root := range cgroupRoots() {
		entries, err := os.ReadDir(root)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, entry := range entries {
			if entry.IsDir() && strings.HasPrefix(entry.Name(), cgroupName(site, "")) {
				errs = append(errs, removeCgroupTree(filepath.Join(root, entry.Name())))
			}
		}
	}
	return errors.Join(errs...)
}

// removeCgroupTree removes a control group and all below it, deepest first; it must hold no process.
func removeCgroupTree(path string) error {
	var folders []string
	err := filepath.WalkDir(path, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			folders = append(folders, p)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot list control group %s: %w", path, err)
	}
	for i := len(folders) - 1; i >= 0; i-- {
		if err := os.Remove(folders[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove control group: %w", err)
		}
	}
	return nil
}
