package command

import (
	"context"
	"os"
	"path/filepath"

	"hybridagent/test/fakenodeadm/lab"
)

// packagesLog names the package manager's commands that would have run, one per line. The stand-in runs none: it imitates the danger
// alone, so that a test can prove that nobody causes it.
const packagesLog = lab.Dir + "/packages.log"

// packages notes one command of the package manager.
func (r *run) packages(command string) error {
	path := r.path(packagesLog)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(command + "\n")
	return err
}

func (r *run) installPackages(containerd string) error {
	commands := []string{"apt update", "apt install iptables -y"}
	if containerd == "distro" {
		commands = append(commands, "apt install containerd -y")
	}
	for _, c := range commands {
		if err := r.packages(c); err != nil {
			return err
		}
	}
	return nil
}

// upgradePackages is flows/upgrade.go:76 without --private-mode. "apt upgrade containerd -y" upgrades every package of the OS: apt
// takes no package names there.
func (r *run) upgradePackages(ctx context.Context, installed *tracked) error {
	r.log.info("flows/upgrade.go:77", "Refreshing package manager metadata cache...")
	if err := r.phase(ctx, "packages"); err != nil {
		return err
	}
	if err := r.packages("apt update"); err != nil {
		return err
	}
	if installed.Containerd != "none" {
		r.log.info("flows/upgrade.go:82", "Upgrading containerd...")
		if err := r.packages("apt upgrade containerd -y"); err != nil {
			return err
		}
	}
	if !installed.Iptables {
		return nil
	}
	r.log.info("flows/upgrade.go:89", "Upgrading iptables...")
	return r.packages("apt upgrade iptables -y")
}
