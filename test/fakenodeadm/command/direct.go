package command

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// DirectDir holds the PID files and logs of units that were started without systemd.
const DirectDir = "/run/fakenodeadm"

// Direct is the labelled exception for hosts without systemd: kubelet and the credential updater run as detached children, and
// containerd counts as present and running. Nothing restarts them when they end.
type Direct struct{}

const unitDir = "/etc/systemd/system/"

// Enable makes the link that systemctl would make.
func (Direct) Enable(unit string) error {
	if unit == "containerd" {
		return nil
	}
	path := unitDir + unit + ".service"
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("Unit file %s.service does not exist.", unit)
	}
	link := unitDir + "multi-user.target.wants/" + unit + ".service"
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(path, link); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// Restart ends the child of an earlier run, if it still is that program, and starts a new one in a session of its own. A restart
// of containerd takes a running kubelet with it, as its Requires= does.
func (Direct) Restart(unit string) error {
	if unit == "containerd" {
		if childOf("kubelet") == 0 {
			return nil
		}
		unit = "kubelet"
	}
	raw, err := os.ReadFile(unitDir + unit + ".service")
	if err != nil {
		return err
	}
	argv, env, err := execStart(string(raw))
	if err != nil {
		return fmt.Errorf("cannot start %s without systemd: %w", unit, err)
	}
	if err := os.MkdirAll(DirectDir, 0o755); err != nil {
		return err
	}
	if err := (Direct{}).Stop(unit); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(DirectDir, unit+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(DirectDir, unit+".pid"), []byte(strconv.Itoa(cmd.Process.Pid)+" "+argv[0]+"\n"), 0o644)
}

// Stop ends the child at once.
func (Direct) Stop(unit string) error {
	if pid := childOf(unit); pid != 0 {
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	return nil
}

// Running tells whether the child still is there and is no zombie.
func (Direct) Running(unit string) bool { return unit == "containerd" || childOf(unit) != 0 }

// childOf returns the PID noted for the unit while that process still runs the noted program; else 0.
func childOf(unit string) int {
	raw, err := os.ReadFile(filepath.Join(DirectDir, unit+".pid"))
	if err != nil {
		return 0
	}
	pidText, program, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	pid, err := strconv.Atoi(pidText)
	if err != nil {
		return 0
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.HasPrefix(string(cmdline), program+"\x00") {
		return 0 // gone, a zombie (empty command line), or another program with a reused number
	}
	return pid
}

// execStart reads ExecStart=, Environment= and EnvironmentFile= of a unit, joins continued lines and splits $VARIABLES as systemd does.
func execStart(unit string) (argv, env []string, err error) {
	for _, line := range strings.Split(strings.ReplaceAll(unit, "\\\n", " "), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "Environment":
			env = append(env, value)
		case "EnvironmentFile":
			raw, err := os.ReadFile(value)
			if err != nil {
				return nil, nil, err
			}
			for _, kv := range strings.Split(string(raw), "\n") {
				if name, v, ok := strings.Cut(kv, "="); ok {
					env = append(env, name+"="+strings.Trim(v, `"`))
				}
			}
		case "ExecStart":
			argv = strings.Fields(value)
		}
	}
	if len(argv) == 0 {
		return nil, nil, errors.New("its unit file has no ExecStart")
	}
	return expand(argv, env), env, nil
}

func expand(argv, env []string) []string {
	var out []string
	for _, word := range argv {
		name, isVar := strings.CutPrefix(word, "$")
		if !isVar {
			out = append(out, word)
			continue
		}
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				out = append(out, strings.Fields(v)...)
			}
		}
	}
	return out
}
