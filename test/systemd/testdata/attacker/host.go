package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const own = "/var/lib/hybrid-agent"

// host tries what lies beside the socket; pid is root's process.
func host(pid int) {
	rootsFiles()
	plant()
	units()
	process(pid)
	setuid()
}

// rootsFiles writes, removes and replaces what is root's, and reads what is secret.
func rootsFiles() {
	for _, path := range []string{
		"/etc/hybrid-agent/config.yaml", "/etc/hybrid-agent/x", "/var/lib/hybrid-agent-op/x", "/var/lib/hybrid-agent-op/host-id",
		"/var/lib/hybrid-agent-op/operations/sequence", "/run/hybrid-agent-op/x", "/run/hybrid-agent-op/runs/x", "/run/hybrid-agent/x",
		"/usr/libexec/hybrid-agent/hybrid-agent-op", "/usr/local/bin/nodeadm", "/etc/systemd/system/x.service", "/run/systemd/system/x.service",
		"/run/systemd/transient/x.service", "/etc/cron.d/x", "/etc/passwd", "/etc/ld.so.preload", "/usr/lib/systemd/system/hybrid-agent-op.service",
		"/etc/iam/pki/server.key", "/sys/fs/cgroup/cgroup.procs", "/proc/sys/kernel/core_pattern",
	} {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
		if err == nil {
			_ = file.Close()
			breach("can write %s", path)
		}
		tried("write "+path, err)
	}
	for _, path := range []string{"/run/hybrid-agent-op/op.sock", "/run/hybrid-agent-op", "/var/lib/hybrid-agent-op", "/etc/hybrid-agent"} {
		if err := os.Rename(path, own+"/stolen"); err == nil {
			breach("can move %s", path)
		}
		if err := os.Remove(path); err == nil {
			breach("can remove %s", path)
		}
	}
	for _, path := range []string{"/etc/shadow", "/var/lib/hybrid-agent-op/operations/sequence", "/etc/hybrid-agent/enrollment-token", "/etc/iam/pki/server.key"} {
		if data, err := os.ReadFile(path); err == nil && len(data) > 0 {
			breach("can read %s", path)
		}
	}
	// The socket is its own: it may open it to everybody, which lets nobody in.
	tried("chmod op.sock", os.Chmod("/run/hybrid-agent-op/op.sock", 0o777))
}

// plant fills the user's own folder with links and FIFOs under every name that root
// might look for, and breaks every file in it.
func plant() {
	entries, err := os.ReadDir(own)
	must(err)
	names := []string{"host-id", "operations", "sequence", "applied", "nodeconfig.yaml", "lock", "x.operation", "enrollment-token", "nodeadm", "config.yaml"}
	for _, entry := range entries {
		names = append(names, entry.Name())
		_ = os.RemoveAll(filepath.Join(own, entry.Name()))
	}
	for i, name := range names {
		path := filepath.Join(own, name)
		switch i % 3 {
		case 0:
			tried("symlink "+name, os.Symlink("/etc/shadow", path))
		case 1:
			tried("fifo "+name, unix.Mkfifo(path, 0o666))
		default:
			if err := os.Link("/etc/shadow", path); err == nil {
				breach("can link /etc/shadow")
			}
			tried("file "+name, os.WriteFile(path, []byte(strings.Repeat("\xff\x00../", 1000)), 0o777))
		}
	}
	tried("symlink to root's folder", os.Symlink("/var/lib/hybrid-agent-op", own+"/op"))
}

// units asks systemd to run something as root, in every way that there is.
func units() {
	const manager = "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "
	for _, line := range []string{
		"systemd-run --no-block touch /etc/pwned",
		"systemctl stop hybrid-agent-op.socket", "systemctl restart hybrid-agent-op.service", "systemctl kill hybrid-agent-op.service",
		"systemctl mask hybrid-agent-op.service", "systemctl daemon-reload", "systemctl set-environment LD_PRELOAD=" + own + "/x.so",
		"systemctl set-property hybrid-agent-op.service CPUQuota=1%", "systemctl poweroff", "systemctl link " + own + "/x.service",
		"busctl call " + manager + `StartTransientUnit ssa(sv)a(sa(sv)) pwned.service replace 1 ExecStart a(sasb) 1 /bin/touch 2 touch /etc/pwned false 0`,
		"busctl call " + manager + "StartUnit ss debug-shell.service replace",
		"busctl call " + manager + "SetEnvironment as 1 LD_PRELOAD=" + own + "/x.so",
		"busctl call " + manager + "EnableUnitFiles asbb 1 " + own + "/x.service true true",
		"busctl --address=unix:path=/run/systemd/private call " + manager + "Reload",
		"busctl call org.freedesktop.hostname1 /org/freedesktop/hostname1 org.freedesktop.hostname1 SetStaticHostname sb pwned false",
		"mount --bind " + own + " /etc", "chroot / id", "unshare --mount true", "nsenter --target 1 --all true",
	} {
		if out, err := command(line); err == nil {
			breach("%s: %s", line, out)
		} else {
			tried(line, err)
		}
	}
}

// command runs a line of plain words.
func command(line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	words := strings.Fields(line)
	out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput()
	text := strings.Join(strings.Fields(string(out)), " ")
	if errors.Is(err, exec.ErrNotFound) {
		fail("the host lacks " + words[0])
	}
	if err != nil {
		err = fmt.Errorf("%w: %.120s", err, text)
	}
	return text, err
}

// process reaches for root's process itself.
func process(pid int) {
	for what, try := range map[string]func() error{
		"ptrace":  func() error { return unix.PtraceSeize(pid) },
		"kill":    func() error { return unix.Kill(pid, unix.SIGKILL) },
		"stop":    func() error { return unix.Kill(pid, unix.SIGSTOP) },
		"memory":  func() error { return open(fmt.Sprintf("/proc/%d/mem", pid)) },
		"environ": func() error { return read(fmt.Sprintf("/proc/%d/environ", pid)) },
		"fds":     func() error { _, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); return err },
		"oom":     func() error { return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0) },
		"read": func() error {
			buffer := make([]byte, 8)
			_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &buffer[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
			return err
		},
		"pidfd": func() error {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return err
			}
			_, err = unix.PidfdGetfd(fd, 3, 0)
			return err
		},
	} {
		err := try()
		if err == nil {
			breach("%s of root's process", what)
		}
		tried(what, err)
	}
}

func open(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_ = file.Close()
	}
	return err
}

func read(path string) error {
	_, err := os.ReadFile(path)
	return err
}

// setuid runs the programs that become root by their mode, with an environment that
// would make them load what is planted: none may (no_new_privs).
func setuid() {
	for _, line := range []string{"su -c id", "mount", "newgrp root", "passwd -S root"} {
		words := strings.Fields(line)
		path, err := exec.LookPath(words[0])
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		cmd := exec.CommandContext(ctx, path, words[1:]...)
		cmd.Env = []string{"LD_PRELOAD=" + own + "/x.so", "LD_LIBRARY_PATH=" + own, "GCONV_PATH=" + own, "PATH=" + own}
		out, err := cmd.CombinedOutput()
		cancel()
		if strings.Contains(string(out), "uid=0") {
			breach("%s became root: %s", line, out)
		}
		tried(line, err)
	}
}
