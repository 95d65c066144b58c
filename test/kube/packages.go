package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// packagesStamp is written last into the folder of unpacked packages.
const packagesStamp = "unpacked"

// Packages returns the folder below which the distribution's containerd and runc
// are, after downloading and unpacking them into the project's build folder.
// Nothing is installed.
func Packages(ctx context.Context, say func(string)) (string, error) {
	source, err := sourceDir(ctx)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(filepath.Dir(source), "..", "..", "build", "kube")
	root := filepath.Join(folder, "packages")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(root + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(root, packagesStamp)); err == nil {
		return root, nil
	}
	say("downloading containerd and runc into " + root)
	if err := os.RemoveAll(root); err != nil {
		return "", err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	if err := unpack(ctx, root); err != nil {
		return "", fmt.Errorf("cannot get containerd and runc: %w; they come from the distribution's package server by apt-get download", err)
	}
	return root, os.WriteFile(filepath.Join(root, packagesStamp), nil, 0o644)
}

func unpack(ctx context.Context, root string) error {
	in := func(name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
		}
		return nil
	}
	download := func() error { return in("apt-get", "download", "containerd", "runc") }
	if err := download(); err != nil {
		// A list that is too old names versions that are gone.
		if err := in("apt-get", "update", "-qq"); err != nil {
			return err
		}
		if err := download(); err != nil {
			return err
		}
	}
	debs, err := filepath.Glob(filepath.Join(root, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if err := in("dpkg-deb", "-x", deb, root); err != nil {
			return err
		}
		if err := os.Remove(deb); err != nil {
			return err
		}
	}
	return nil
}
