package netcfg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// protocolName is what people call a route protocol (linux/rtnetlink.h and
// iproute2's rt_protos).
func protocolName(p uint8) string {
	switch p {
	case 2:
		return "kernel"
	case 3:
		return "protocol boot, as `ip route` writes"
	case 4:
		return "protocol static, as network managers write"
	case 9:
		return "protocol ra"
	case 11:
		return "protocol zebra"
	case 12:
		return "protocol bird"
	case 16:
		return "protocol dhcp"
	case 18:
		return "protocol keepalived"
	case 42:
		return "protocol babel"
	case 186, 187, 188, 189, 192:
		return "a routing daemon, protocol " + strconv.Itoa(int(p))
	}
	return "protocol " + strconv.Itoa(int(p))
}

func isForeignConflict(err error) bool { return errors.Is(err, syscall.EEXIST) }

// rival names who is behind a repair; it runs without mu.
func (k *Keeper) rival(r Repair) string {
	switch {
	case r.Cause != CauseDeleted && r.Cause != CauseReplaced && r.Cause != CauseRule:
		return ""
	case r.Port == 0:
		return "" // the kernel, or found by a reading
	}
	if name := k.opt.Rival(r.Port, r.When); name != "" {
		return name
	}
	if r.Port > maxPID {
		return fmt.Sprintf("netlink port %d", r.Port)
	}
	return fmt.Sprintf("process %d", r.Port)
}

// maxPID is PID_MAX_LIMIT of linux/threads.h. The kernel gives higher ports to the
// second and further sockets of a process: they name nobody.
const maxPID = 1 << 22

// procRival names the owner of a port by /proc: most programs leave the choice of
// the port to the kernel, which takes their process ID.
func procRival(root string) func(uint32, time.Time) string {
	return func(port uint32, _ time.Time) string {
		if port == 0 || port > maxPID {
			return ""
		}
		dir := filepath.Join(root, strconv.FormatUint(uint64(port), 10))
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			return ""
		}
		cgroup, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		return describeProcess(strings.TrimSpace(string(comm)), port, unitOf(string(cgroup)))
	}
}

// describeProcess prefers the unit, which outlives the process.
func describeProcess(comm string, pid uint32, unit string) string {
	if strings.HasSuffix(unit, ".service") {
		return fmt.Sprintf("%s (%s, process %d)", unit, comm, pid)
	}
	if unit != "" {
		return fmt.Sprintf("%s (process %d in %s)", comm, pid, unit)
	}
	return fmt.Sprintf("%s (process %d)", comm, pid)
}

// unitOf finds the systemd unit in the text of a /proc/PID/cgroup: the innermost
// service or scope of the unified hierarchy, or of systemd's own on older hosts
// (cgroups(7)).
func unitOf(cgroup string) string {
	for line := range strings.Lines(cgroup) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "name=systemd" {
			continue
		}
		names := strings.Split(parts[2], "/")
		for i := len(names) - 1; i >= 0; i-- {
			if strings.HasSuffix(names[i], ".service") || strings.HasSuffix(names[i], ".scope") {
				return names[i]
			}
		}
	}
	return ""
}
