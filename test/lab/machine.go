package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Machine is a systemd host: a container with a real systemd as its first process, in the place of an edge host of the site. Its disk is an
// overlay over a shared root and outlives a power cut.
type Machine struct {
	// Host is the edge host that the machine is; its methods reach into the machine while it runs.
	Host *Host
	// Number is the edge host's number, from 1.
	Number int
	// Binds are shown read-only in the machine from its next boot on: path in the machine to path on this machine.
	Binds map[string]string
	// Bare says that the machine's own network configuration, on its disk, gives its NICs what they need: it boots with both down and
	// without addresses.
	Bare bool

	base    string
	disk    string // merged overlay, as the site's mounts have it
	root    string // the same, as this program finds it
	outside spaces
	nspawn  *Process
}

// Rootfs builds or finds the root folder of that Debian release that systemd hosts start from, with scripts/rootfs.sh; packages are what it
// holds besides what every such host has.
func Rootfs(ctx context.Context, suite string, packages ...string) (string, error) {
	repository, err := Repository()
	if err != nil {
		return "", err
	}
	var said strings.Builder
	cmd := exec.CommandContext(ctx, filepath.Join(repository, "scripts/rootfs.sh"), append([]string{suite}, packages...)...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("cannot build the root folder of systemd hosts: %w: %s", err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// NewMachine gives the nth edge host, one of the site's SystemdEdges, a disk over the root folder base. It does not boot it.
func (s *Site) NewMachine(n int, base string) (*Machine, error) {
	h := s.Host(EdgeName(n))
	folder := filepath.Join(s.Folder, "mem", h.Name)
	m := &Machine{Host: h, Binds: make(map[string]string), Number: n, base: base, disk: filepath.Join(folder, "root"), outside: h.spaces}
	m.root = fmt.Sprintf("/proc/%d/root%s", s.init.Process.Pid, m.disk)
	err := m.outside.do(func() error {
		upper, work := filepath.Join(folder, "upper"), filepath.Join(folder, "work")
		for _, path := range []string{m.disk, upper, work} {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
		}
		return mountAt("overlay", m.disk, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", base, upper, work))
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make the disk of %s: %w", h.Name, err)
	}
	err = errors.Join(
		m.WriteFile("etc/machine-id", []byte(MachineID(s.Name, n)+"\n"), 0o444),
		m.WriteFile("etc/hostname", []byte(h.Name+"\n"), 0o644),
		m.WriteFile("etc/hosts", fmt.Appendf(nil, "127.0.0.1 localhost\n127.0.1.1 %s\n", h.Name), 0o644),
		m.WriteFile("etc/resolv.conf", []byte("# the lab has no name server\n"), 0o644),
		m.WriteFile("etc/hybrid-lab/product_uuid", []byte(ProductUUID(s.Name, n)+"\n"), 0o400),
		m.WriteFile("etc/tmpfiles.d/hybrid-lab.conf", fmt.Appendf(nil, "d /run/hybrid-lab\nf /run/hybrid-lab/marker 0644 - - - %s\n", s.Name), 0o644),
	)
	return m, err
}

// WriteFile writes a file on the machine's disk, whether it runs or not, and makes its folders. The path has no leading slash, and links
// cannot lead out of the disk.
func (m *Machine) WriteFile(path string, data []byte, mode os.FileMode) error {
	root, err := os.OpenRoot(m.root)
	if err != nil {
		return fmt.Errorf("cannot open the disk of %s: %w", m.Host.Name, err)
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot write %s on %s: %w", path, m.Host.Name, err)
	}
	if err := errors.Join(root.WriteFile(path, data, mode), root.Chmod(path, mode)); err != nil {
		return fmt.Errorf("cannot write %s on %s: %w", path, m.Host.Name, err)
	}
	return nil
}

// Disk is the folder, for programs started on hosts of the site other than its edge hosts, that holds the machine's disk.
func (m *Machine) Disk() string { return m.disk }

// Offline runs a program of the machine's disk while the machine is off, as root in a chroot.
func (m *Machine) Offline(ctx context.Context, name string, args ...string) (string, error) {
	host := m.Host.site.Host(fabric)
	return host.Exec(ctx, "chroot", append([]string{m.disk, name}, args...)...)
}

// Boot starts the machine and waits until systemd has finished booting; a unit that failed is no error here.
func (m *Machine) Boot(ctx context.Context) error {
	if m.nspawn != nil {
		return fmt.Errorf("cannot boot %s: it runs", m.Host.Name)
	}
	m.Host.spaces = m.outside
	if m.Bare {
		if err := m.resetNetwork(ctx); err != nil {
			return err
		}
	}
	cmd := m.Host.Command(context.Background(), "sh", append([]string{"-c", m.bootScript(), "boot"}, m.nspawnArgs()...)...)
	cmd.Env = append(cmd.Env, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
	nspawn, err := m.Host.Start("console", cmd)
	if err != nil {
		return err
	}
	m.nspawn = nspawn
	err = Until(ctx, m.Host.Name+" to boot", 20*time.Millisecond, func(ctx context.Context) error {
		if err := nspawn.Ended(); err != nil {
			return Final(err)
		}
		if err := m.findLeader(); err != nil {
			return err
		}
		out, _ := m.Host.Command(ctx, "systemctl", "is-system-running").CombinedOutput()
		if state := strings.TrimSpace(out); state != "running" && state != "degraded" {
			return fmt.Errorf("system is %q", state)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w; the end of its console:\n%s", err, nspawn.Tail(15))
	}
	return nil
}

// bootScript puts the machine into control groups of its own: systemd wants to own its tree, and a power cut kills by it.
func (m *Machine) bootScript() string {
	var script strings.Builder
	for _, root := range cgroupRoots() {
		group := filepath.Join(root, cgroupName(m.Host.site.Name, m.Host.Name))
		fmt.Fprintf(&script, "mkdir -p %[1]s && echo 0 >%[1]s/cgroup.procs || exit 1\n", group)
	}
	script.WriteString(`exec systemd-nspawn "$@"`)
	return script.String()
}

func (m *Machine) nspawnArgs() []string {
	args := []string{
		"--quiet", "--directory=" + m.disk, "--boot", "--machine=" + m.Host.Name, "--hostname=" + m.Host.Name, "--register=no", "--keep-unit",
		"--network-namespace-path=" + filepath.Join(netnsFolder, m.Host.Name), "--capability=CAP_NET_ADMIN", "--console=pipe",
		"--link-journal=no", "--resolv-conf=off", "--timezone=off",
	}
	for target, source := range m.Binds {
		args = append(args, "--bind-ro="+source+":"+target)
	}
	return args
}

// findLeader makes the host's methods reach into the machine: its first process is the one of nspawn's children that is number 1 to itself.
func (m *Machine) findLeader() error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		status, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "status"))
		if err != nil || !isLeader(string(status), m.nspawn.Pid) {
			continue
		}
		process := fmt.Sprintf("/proc/%d", pid)
		m.Host.root = process + "/root"
		m.Host.spaces = spaces{net: process + "/ns/net", uts: process + "/ns/uts", pid: process + "/ns/pid", mnt: process + "/ns/mnt"}
		return nil
	}
	return errors.New("its systemd does not run yet")
}

func isLeader(status string, parent int) bool {
	ours, first := false, false
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case key == "PPid" && len(fields) == 1:
			ours = fields[0] == strconv.Itoa(parent)
		case key == "NSpid" && len(fields) > 1:
			first = fields[len(fields)-1] == "1"
		}
	}
	return ours && first
}

// Unplug pulls the cable out of lan0 at the switch's end, as a switch without power does; Plug puts it back.
func (m *Machine) Unplug(ctx context.Context) error { return m.port(ctx, "down") }

// Plug undoes Unplug.
func (m *Machine) Plug(ctx context.Context) error { return m.port(ctx, "up") }

func (m *Machine) port(ctx context.Context, state string) error {
	return m.Host.site.Host(fabric).IP(ctx, fmt.Sprintf("link set lan-%s %s", m.Host.Name, state))
}

// PowerCut ends every process of the machine at once, without a word to any, and takes its addresses and routes away, as the loss of power
// does. The disk stays as it was.
func (m *Machine) PowerCut(ctx context.Context) error {
	group := ""
	for _, root := range cgroupRoots() {
		path := filepath.Join(root, cgroupName(m.Host.site.Name, m.Host.Name))
		if _, err := os.Stat(filepath.Join(path, "cgroup.kill")); err == nil {
			group = path
		}
	}
	if group == "" {
		return fmt.Errorf("cannot cut the power of %s: no control group with cgroup.kill", m.Host.Name)
	}
	if err := os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0); err != nil {
		return fmt.Errorf("cannot cut the power of %s: %w", m.Host.Name, err)
	}
	err := Until(ctx, "the end of "+m.Host.Name, 5*time.Millisecond, func(context.Context) error {
		events, err := os.ReadFile(filepath.Join(group, "cgroup.events"))
		if err != nil || strings.Contains(string(events), "populated 0") {
			return err
		}
		return errors.New("processes are left")
	})
	if err != nil {
		return err
	}
	return m.off(ctx)
}

// Shutdown has the machine's systemd power it off in order, as before a reboot, and waits until it is off.
func (m *Machine) Shutdown(ctx context.Context) error {
	// The command ends with the machine, so its own end says nothing.
	_, _ = m.Host.Exec(ctx, "systemctl", "--no-block", "poweroff")
	return m.off(ctx)
}

// off waits for the end of nspawn and removes what it leaves.
func (m *Machine) off(ctx context.Context) error {
	select {
	case <-m.nspawn.Done():
	case <-ctx.Done():
		return fmt.Errorf("cannot wait for %s to be off: %w", m.Host.Name, ctx.Err())
	}
	m.nspawn = nil
	m.Host.spaces = m.outside
	for _, root := range cgroupRoots() {
		if err := removeCgroupTree(filepath.Join(root, cgroupName(m.Host.site.Name, m.Host.Name))); err != nil {
			return err
		}
	}
	return m.resetNetwork(ctx)
}

// resetNetwork brings the host's network to what its own configuration makes of it at boot, or to nothing on a Bare machine.
func (m *Machine) resetNetwork(ctx context.Context) error {
	lines := []string{
		"link set docker0 down", "address flush dev docker0", "address flush dev lan0", "address flush dev office0",
		"link set lan0 down", "link set office0 down",
	}
	if !m.Bare {
		lines = append(append(lines, "link del docker0"), EdgeNetwork(m.Number)...)
	}
	return m.Host.IP(ctx, lines...)
}
