package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"

	"hybridagent/test/lab"
)

// becomeRoot starts the program again with sudo; it returns only when that cannot be done. What is downloaded is downloaded before, so that
// root leaves no files in the repository that its owner could not remove.
func becomeRoot(ctx context.Context, args []string) error {
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return errors.New("network namespaces need root, and there is no sudo; run it as root")
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		if _, err := lab.FetchChrony(ctx); err != nil {
			return err
		}
		fmt.Println("network namespaces need root: going on with sudo")
	}
	return unix.Exec(sudo, sudoArgs(program, args, os.Getenv), os.Environ())
}

// sudoArgs passes on the demo's own variables, which sudo drops.
func sudoArgs(program string, args []string, getenv func(string) string) []string {
	line := []string{"sudo", "--"}
	variables := []string{"env"}
	for _, name := range []string{"KEEP", "DEMO_BREAK", sitesVariable} {
		if value := getenv(name); value != "" {
			variables = append(variables, name+"="+value)
		}
	}
	return append(append(append(line, variables...), program), args...)
}

// giveBack makes files belong to whoever called sudo, so that make clean can remove them.
func giveBack(paths ...string) error {
	uid, uidErr := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, gidErr := strconv.Atoi(os.Getenv("SUDO_GID"))
	if notUnderSudo := uidErr != nil || gidErr != nil; notUnderSudo {
		return nil
	}
	var errs []error
	for _, path := range paths {
		errs = append(errs, os.Lchown(path, uid, gid))
	}
	return errors.Join(errs...)
}
