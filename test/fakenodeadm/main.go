// Command fakenodeadm is the lab's stand-in for nodeadm v1.0.20 and for the programs that nodeadm installs; the name it is
// called by chooses the role. It refuses to run outside a lab.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"hybridagent/test/fakenodeadm/command"
	"hybridagent/test/fakenodeadm/kubelet"
	"hybridagent/test/fakenodeadm/lab"
	"hybridagent/test/fakenodeadm/tools"
)

func main() {
	role := filepath.Base(os.Args[0])
	if err := lab.Guard(lab.Dir); err != nil {
		fmt.Fprintf(os.Stderr, "%s (stand-in): %v\n", role, err)
		os.Exit(lab.ExitNotALab)
	}
	settings, err := lab.Load(lab.Dir, os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s (stand-in): %v\n", role, err)
		os.Exit(lab.ExitNotALab)
	}
	os.Exit(run(role, os.Args[1:], settings))
}

func run(role string, args []string, settings lab.Settings) int {
	var err error
	switch role {
	case "nodeadm", "fakenodeadm":
		return nodeadm(args, settings)
	case "kubelet":
		if settings.Kubelet.Real != "" {
			return failed(role, realKubelet(args, settings.Kubelet))
		}
		err = kubelet.Run(context.Background(), args, settings.Kubelet, os.Environ(), os.Stdout)
	case "aws_signing_helper":
		err = tools.SigningHelper(args, os.Getenv, os.Stdout)
	case "aws-iam-authenticator":
		if cert := settings.Kubelet.ClientCertificate; cert != "" {
			return failed(role, tools.ClientCertificate(cert, settings.Kubelet.ClientKey, os.Stdout))
		}
		err = tools.Authenticator(args, os.Environ(), os.Getenv, os.Stdout)
	case "ssm-setup-cli":
		err = tools.SSMSetup(os.Getenv("STANDIN_ROOT"), args, os.Stdout)
	case "amazon-ssm-agent":
		err = tools.SSMAgent(context.Background(), os.Getenv("STANDIN_ROOT"), args, os.Getenv, os.Stdout)
	case "containerd":
		if settings.Kubelet.Containerd != "" {
			return failed(role, tools.RealContainerd(settings.Kubelet, os.Environ()))
		}
		err = tools.Containerd()
	case "iptables":
		return 0
	default:
		err = fmt.Errorf("this stand-in plays no %s", role)
	}
	return failed(role, err)
}

func failed(role string, err error) int {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s (stand-in): %v\n", role, err)
		return 1
	}
	return 0
}

// realKubelet becomes the real kubelet that the lab names.
func realKubelet(args []string, settings lab.Kubelet) error {
	path, argv, err := kubelet.RealCommand("", args, settings)
	if err != nil {
		return err
	}
	argv[0] = os.Args[0] // by which nodeadm finds it again without systemd
	return fmt.Errorf("cannot start the real kubelet %s: %w", path, syscall.Exec(path, argv, os.Environ()))
}

// nodeadm sets up no signal handling, as the real program does not: a signal ends it where it is.
func nodeadm(args []string, settings lab.Settings) int {
	h := &command.Host{
		Stdout: os.Stdout, Stderr: os.Stderr, Env: os.Environ(), Settings: settings,
		Units: command.Systemctl{}, HasSystemd: booted, DefaultIP: lab.DefaultIP, LookupIP: net.LookupIP,
		Kill: killed,
	}
	if settings.Direct {
		h.Units, h.HasSystemd = command.Direct{}, func() bool { return true }
	}
	return h.Run(context.Background(), args)
}

// killed ends the program at once, without any clean-up.
func killed() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// booted is systemd's own test for running as the system manager.
func booted() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}
