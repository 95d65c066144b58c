package actors

import (
	"context"
	"fmt"
	"os"
	"strings"

	"hybridagent/test/lab"
)

// Kubelet is the kubelet stand-in that nodeadm left running on a host without systemd, as it was started.
type Kubelet struct {
	// Pid is its process number on the host, Started when it was started, in clock ticks after the machine's boot: together they name it.
	Pid, Started string

	argv, env []string
}

// Kubelet finds the running one.
func (e *Edge) Kubelet() (Kubelet, error) {
	var k Kubelet
	note, err := e.Host.ReadFile("/run/fakenodeadm/kubelet.pid")
	if err != nil {
		return k, fmt.Errorf("no kubelet was started on %s: %w", e.Host.Name, err)
	}
	k.Pid, _, _ = strings.Cut(string(note), " ")
	read := func(name string) string {
		data, readErr := os.ReadFile(e.Host.Path("/proc/" + k.Pid + "/" + name))
		if readErr != nil {
			err = readErr
		}
		return string(data)
	}
	stat, argv, env := read("stat"), read("cmdline"), read("environ")
	if err != nil {
		return k, fmt.Errorf("kubelet of %s does not run: %w", e.Host.Name, err)
	}
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const startTime = 19 // proc(5) counts it as the 22nd, the state as the third
	if len(fields) <= startTime {
		return k, fmt.Errorf("cannot read when kubelet of %s was started: %q", e.Host.Name, stat)
	}
	k.Started = fields[startTime]
	k.argv, k.env = strings.Split(strings.TrimRight(argv, "\x00"), "\x00"), strings.Split(strings.TrimRight(env, "\x00"), "\x00")
	return k, nil
}

// Same says whether both are one process.
func (k Kubelet) Same(other Kubelet) bool { return k.Pid == other.Pid && k.Started == other.Started }

// StartKubelet starts kubelet as it was started before, as systemd would at boot.
func (e *Edge) StartKubelet(former Kubelet) (*lab.Process, error) {
	cmd := e.Host.Command(context.Background(), former.argv[0], former.argv[1:]...)
	cmd.Env = append(cmd.Env, former.env...)
	return e.Host.Start("kubelet", cmd)
}

// Boot does at a boot what systemd would: it makes the folders of /run and starts root's program and the daemon. The host's network is another matter.
func (e *Edge) Boot() error {
	if err := e.Host.Mkdir("/run/hybrid-agent", 0o755, AgentUID, AgentUID); err != nil {
		return err
	}
	if err := e.Host.Mkdir("/run/hybrid-agent-op", 0o755, 0, 0); err != nil {
		return err
	}
	if err := e.StartOp(); err != nil {
		return err
	}
	return e.StartAgent()
}
