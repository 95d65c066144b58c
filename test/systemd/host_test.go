//go:build systemd

package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

func TestMain(m *testing.M) {
	lab.Main()
	os.Exit(m.Run())
}

const poll = 50 * time.Millisecond

// world is a site with one systemd host and everything around it.
type world struct {
	t        *testing.T
	ctx      context.Context
	site     *lab.Site
	bin      actors.Binaries
	aws      *actors.AWS
	plane    *actors.Plane
	operator *actors.Operator
	machine  *lab.Machine
	dhcp     *lab.DHCP
	repo     string
}

// The releases of Debian whose systemd the units must work with: 257 and 252.
const (
	newSystemd = "trixie"
	oldSystemd = "bookworm"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, newSystemd)
}

func newWorldOn(t *testing.T, suite string) *world {
	t.Helper()
	w := newSite(t, 1)
	w.machine = w.newMachine(1, suite)
	return w
}

// newSite makes a world with room for that many systemd hosts.
func newSite(t *testing.T, hosts int) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx}
	var err error
	w.repo, err = lab.Repository()
	w.must(err)
	folder := t.TempDir()
	w.site, err = lab.New(ctx, lab.Options{Folder: folder, SystemdEdges: hosts})
	w.must(err)
	t.Cleanup(func() {
		if t.Failed() && w.machine != nil {
			w.logTails()
		}
		if err := w.site.Close(); err != nil {
			t.Error(err)
		}
		left, err := lab.Leftovers(folder)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %q, %v", left, err)
		}
	})
	return w
}

// newMachine gives the site its nth host, with further packages of that release of Debian.
func (w *world) newMachine(n int, suite string, packages ...string) *lab.Machine {
	w.t.Helper()
	base, err := lab.Rootfs(w.ctx, suite, packages...)
	w.must(err)
	machine, err := w.site.NewMachine(n, base)
	w.must(err)
	return machine
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// programs finds what make builds.
func (w *world) programs() {
	w.t.Helper()
	var err error
	w.bin, err = actors.FindBinaries(w.repo)
	w.must(err)
}

// surround starts time, AWS, the plane and the operator with cluster and profile.
func (w *world) surround() {
	w.t.Helper()
	chrony, err := lab.FetchChrony(w.ctx)
	w.must(err)
	_, err = w.site.StartChrony(chrony)
	w.must(err)
	w.aws, err = actors.StartAWS(w.ctx, w.site, w.bin)
	w.must(err)
	w.plane, err = actors.StartPlane(w.ctx, w.site, w.bin)
	w.must(err)
	w.operator, err = actors.NewOperator(w.plane)
	w.must(err)
	yaml, err := actors.ClusterYAML()
	w.must(err)
	w.must(w.operator.Apply(w.ctx, "cluster.yaml", yaml))
}

// install does what the package does: programs, units, users, folders. It starts nothing.
func (w *world) install() {
	w.t.Helper()
	m := w.machine
	m.Binds["/usr/bin/hybrid-agent"] = w.bin.Agent
	m.Binds["/usr/libexec/hybrid-agent/hybrid-agent-op"] = w.bin.Op
	m.Binds["/usr/local/libexec/hybrid-lab/demo"] = filepath.Join(w.repo, "build/lab/demo")
	files := map[string]string{
		"systemd/*":    "usr/lib/systemd/system",
		"sysusers.d/*": "usr/lib/sysusers.d",
		"tmpfiles.d/*": "usr/lib/tmpfiles.d",
		"sysctl.d/*":   "usr/lib/sysctl.d",
	}
	for pattern, target := range files {
		paths, err := filepath.Glob(filepath.Join(w.repo, "packaging", pattern))
		w.must(err)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			w.must(err)
			w.must(m.WriteFile(filepath.Join(target, filepath.Base(path)), data, 0o644))
		}
	}
	_, err := m.Offline(w.ctx, "systemd-sysusers")
	w.must(err)
	_, err = m.Offline(w.ctx, "systemctl", "enable", "hybrid-agent.service")
	w.must(err)
	// A minute of idleness is too long for a test; all else of the unit stays.
	w.must(m.WriteFile("etc/systemd/system/hybrid-agent-op.service.d/idle.conf", []byte("[Service]\nExecStart=\n"+
		"ExecStart=/usr/libexec/hybrid-agent/hybrid-agent-op serve --config /etc/hybrid-agent/config.yaml --runner systemd --idle 5s\n"), 0o644))
	// What the package's sysctl.d file must set; the lab's own value would hide its absence.
	w.must(m.Host.Sysctl("ipv4/ping_group_range", "1 0"))
}

// installed makes a world whose host is installed and configured, with a token for it, but off.
func installed(t *testing.T, suite string) *world {
	t.Helper()
	w := newWorldOn(t, suite)
	w.programs()
	w.surround()
	token, err := w.operator.Token(w.ctx, 1)
	w.must(err)
	w.install()
	w.configure(w.plane.CAPin, token)
	return w
}

// configure does what the operator's hand, or cloud-init, does on the host.
func (w *world) configure(caPin, token string) {
	w.t.Helper()
	m := w.machine
	extra := "host: {deviceUIDPaths: [{name: /etc/hybrid-lab/product_uuid}]}\n"
	w.must(m.WriteFile("etc/hybrid-agent/config.yaml", []byte(actors.Config(caPin, extra)), 0o644))
	if token != "" {
		w.must(m.WriteFile("etc/hybrid-agent/enrollment-token", []byte(token+"\n"), 0o600))
	}
	if w.aws == nil {
		return
	}
	w.must(m.WriteFile("etc/hybrid-agent/manifest.yaml", w.aws.Manifest, 0o644))
	w.standIns(`{"timeScale":0.05}`) // a twentieth of what the real ones wait
	w.must(w.aws.PrepareHost(w.ctx, w.site, w.bin, m.Disk()))
}

// standIns configures the stand-ins for nodeadm and kubelet, from the next boot on.
func (w *world) standIns(config string) {
	w.t.Helper()
	line := "f+ /run/hybrid-lab/fakenodeadm.json 0644 - - - " + config + "\n"
	w.must(w.machine.WriteFile("etc/tmpfiles.d/hybrid-lab-standins.conf", []byte(line), 0o644))
}

// pool puts the host into the node pool.
func (w *world) pool(hostID string) {
	w.t.Helper()
	yaml, err := actors.PoolYAML(strings.ToUpper(runtime.GOARCH), []actors.PoolMember{
		{HostID: hostID, HostName: "till-1", NIC: "auto", VPNServer: lab.VPNServer},
	})
	w.must(err)
	w.must(w.operator.Apply(w.ctx, "pool.yaml", yaml))
}

// until waits for a condition of the host for at most limit.
func (w *world) until(what string, limit time.Duration, check func(ctx context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	if err := lab.Until(ctx, what, poll, check); err != nil {
		w.t.Fatal(err)
	}
}

// onHost runs a command on the machine and fails the test when it fails.
func (w *world) onHost(name string, args ...string) string {
	w.t.Helper()
	out, err := w.machine.Host.Exec(w.ctx, name, args...)
	if err != nil {
		w.t.Fatalf("%v; it printed %s", err, out)
	}
	return strings.TrimSpace(out)
}

// property reads one property of a unit.
func (w *world) property(unit, name string) string {
	w.t.Helper()
	return w.onHost("systemctl", "show", "--value", "--property="+name, unit)
}

func (w *world) status(ctx context.Context) (actors.Status, error) {
	return actors.ReadStatus(ctx, w.machine.Host.Command)
}

func (w *world) holds(kinds ...string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		status, err := w.status(ctx)
		if err != nil {
			return err
		}
		var errs []error
		for _, kind := range kinds {
			errs = append(errs, status.Holds(kind))
		}
		return errors.Join(errs...)
	}
}

func (w *world) route(ctx context.Context) error {
	out, err := w.machine.Host.Exec(ctx, "ip", "route", "show", lab.VPCCIDR)
	if err != nil {
		return err
	}
	if !strings.Contains(out, "via "+lab.VPNServer) {
		return fmt.Errorf("kernel has %q", out)
	}
	return nil
}

// logTails shows what the host's own journal said, for a failed test.
func (w *world) logTails() {
	out, err := w.machine.Host.Command(context.Background(), "journalctl", "--no-pager", "-n", "400", "-o", "short-monotonic").CombinedOutput()
	w.t.Logf("journal of the host (%v):\n%s", err, out)
	logs, _ := filepath.Glob(filepath.Join(w.site.Folder, "*", "*.log"))
	for _, path := range logs {
		data, err := os.ReadFile(path)
		if err == nil {
			lines := strings.Split(strings.TrimSpace(string(data)), "\n")
			w.t.Logf("%s:\n%s", path, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	}
}
