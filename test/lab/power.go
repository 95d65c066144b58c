package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// PowerCut ends every process of an edge host with files of its own at once and takes from its kernel whatever a power cut takes: addresses,
// routes, policy rules, links that are no NIC, and what was in /run. What was written to its disk stays, as do the NICs. The host is
// then off: BootNetwork brings its network up again.
func (h *Host) PowerCut(ctx context.Context) error {
	// kill(2) of -1 spares the caller and the host's own first process only.
	if _, err := h.Exec(ctx, "sh", "-c", "kill -KILL -1"); err != nil {
		return fmt.Errorf("cannot cut the power of %s: %w", h.Name, err)
	}
	err := Until(ctx, "the end of every process on "+h.Name, 2*time.Millisecond, func(context.Context) error { return h.deserted() })
	if err != nil {
		return err
	}
	if out, err := h.Command(ctx, "sh", "-c", forgetNetwork).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot cut the power of %s: %w: %s", h.Name, err, out)
	}
	return h.Do(emptyRun)
}

// forgetNetwork leaves of a network what a kernel has at boot: NICs that are down.
const forgetNetwork = `set -e
for link in /sys/class/net/*; do
	nic=${link##*/}
	case $nic in
	lo) ;;
	docker*) ip link delete "$nic" ;;
	*) ip link set "$nic" down; ip address flush dev "$nic" ;;
	esac
done
ip route flush table all 2>/dev/null || true
ip rule flush
ip rule add pref 32766 lookup main
ip rule add pref 32767 lookup default
ip link set lo down
ip link set lo up
`

// deserted is nil when nothing but the host's first process runs.
func (h *Host) deserted() error {
	entries, err := os.ReadDir(h.Path("/proc"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == 1 {
			continue
		}
		return fmt.Errorf("process %d is there", pid)
	}
	return nil
}

// emptyRun leaves only the lab's own marks in /run.
func emptyRun() error {
	entries, err := os.ReadDir("/run")
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if entry.Name() != "hybrid-lab" {
			errs = append(errs, os.RemoveAll(filepath.Join("/run", entry.Name())))
		}
	}
	return errors.Join(errs...)
}

// BootNetwork configures the network of the nth edge host after a power cut, as the host's own network configuration would. Its programs are the
// caller's business.
func (s *Site) BootNetwork(ctx context.Context, n int) error {
	return s.Host(EdgeName(n)).IP(ctx, EdgeNetwork(n)...)
}
