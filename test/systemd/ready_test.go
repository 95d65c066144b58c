//go:build systemd

package systemd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/test/lab"
	"hybridagent/test/lab/actors"
)

// TestFromBootToReady is the main road: a host is installed and configured, boots, enrols, joins the pool, becomes a Ready node; it loses
// its power and comes back, first without the plane.
func TestFromBootToReady(t *testing.T) {
	w := installed(t, newSystemd)
	booted := time.Now()
	w.must(w.machine.Boot(w.ctx))
	w.requireDaemon()
	id := w.enrolled()
	t.Logf("enrolled as %s %.1f s after power on", id, time.Since(booted).Seconds())
	w.pool(id)
	w.until("a Ready node", time.Minute, w.holds("Registered", "NICSelected", "RoutesInstalled", "PathHealthy", "TimeSynced", "NodeReady"))
	w.until("the pool to run", 20*time.Second, w.poolRuns)
	t.Logf("Ready %.1f s after power on", time.Since(booted).Seconds())

	w.requireFirstAttempts()
	w.requireNode(id)
	w.requireTokenErased()
	w.requireLocalAccess()
	w.requireForgeryRefused(id)
	w.requireOpEnds()

	w.requireComesBack()
}

// TestFromBootToReadyOnOlderSystemd is the same road, up to Ready, on a systemd five versions older.
func TestFromBootToReadyOnOlderSystemd(t *testing.T) {
	w := installed(t, oldSystemd)
	w.must(w.machine.Boot(w.ctx))
	w.requireDaemon()
	id := w.enrolled()
	w.pool(id)
	w.until("a Ready node", time.Minute, w.holds("RoutesInstalled", "NodeReady"))
	w.requireFirstAttempts()
	w.requireNode(id)
	w.requireTokenErased()
	// The token's file is gone: its absence must not keep the daemon from starting.
	w.onHost("systemctl", "restart", "hybrid-agent.service")
	w.until("the daemon's return", 20*time.Second, w.holds("Registered", "RoutesInstalled"))
}

// enrolled waits until the plane has the host and returns its ID.
func (w *world) enrolled() string {
	w.t.Helper()
	id := ""
	w.until("the host to enrol", 20*time.Second, func(ctx context.Context) error {
		hosts, err := w.operator.Hosts(ctx)
		if err != nil {
			return err
		}
		host := hosts[w.machine.Host.Name]
		if !host.Status.Connected {
			return fmt.Errorf("hosts: %v", hosts)
		}
		id = host.Metadata.Name
		return nil
	})
	if uuid := lab.ProductUUID(w.site.Name, w.machine.Number); !strings.Contains(id, uuid) {
		w.t.Errorf("host ID %s does not come from the product UUID %s", id, uuid)
	}
	return id
}

// requireDaemon checks how systemd runs the daemon.
func (w *world) requireDaemon() {
	w.t.Helper()
	w.until("hybrid-agent.service to be active", 10*time.Second, func(ctx context.Context) error {
		out, err := w.machine.Host.Command(ctx, "systemctl", "is-active", "hybrid-agent.service").CombinedOutput()
		if err != nil {
			return fmt.Errorf("it is %s", strings.TrimSpace(out))
		}
		return nil
	})
	pid := w.property("hybrid-agent.service", "MainPID")
	status := w.onHost("cat", filepath.Join("/proc", pid, "status"))
	uid := w.onHost("id", "-u", "hybrid-agent")
	const netAdmin = "0000000000001000"
	want := map[string]string{"Uid": uid + " " + uid + " " + uid + " " + uid, "CapEff": netAdmin, "CapPrm": netAdmin, "CapBnd": netAdmin,
		"CapAmb": netAdmin, "NoNewPrivs": "1", "Seccomp": "2"}
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		if expected, ok := want[key]; ok && strings.Join(strings.Fields(value), " ") != expected {
			w.t.Errorf("daemon's %s is %s, want %s", key, strings.TrimSpace(value), expected)
		}
	}
	for _, unit := range []string{"hybrid-agent.socket", "hybrid-agent-op.socket"} {
		if state := w.property(unit, "ActiveState"); state != "active" {
			w.t.Errorf("%s is %s", unit, state)
		}
	}
	if watchdog := w.property("hybrid-agent.service", "WatchdogTimestampMonotonic"); watchdog == "0" {
		w.t.Error("systemd does not watch the daemon")
	}
	if got := w.onHost("stat", "-c", "%U:%G %a", "/run/hybrid-agent/agent.sock"); got != "root:hybrid-agent-status 660" {
		w.t.Errorf("local socket is %s", got)
	}
	if got := w.onHost("stat", "-c", "%U:%G %a", "/run/hybrid-agent-op/op.sock"); got != "hybrid-agent:hybrid-agent 600" {
		w.t.Errorf("op socket is %s", got)
	}
	if got := w.onHost("cat", "/proc/sys/net/ipv4/ping_group_range"); strings.Join(strings.Fields(got), " ") != "0 2147483647" {
		w.t.Errorf("ping_group_range is %s", got)
	}
}

func (w *world) poolRuns(ctx context.Context) error {
	pool, err := w.operator.Pool(ctx, actors.PoolName)
	if err != nil {
		return err
	}
	if pool.Status.State != "Running" || pool.Status.Ready != 1 {
		return fmt.Errorf("pool is %s: %s", pool.Status.State, strings.Join(pool.Status.Problems, "; "))
	}
	return nil
}

// requireFirstAttempts reads root's journal: on a host without faults no step is tried twice.
func (w *world) requireFirstAttempts() {
	w.t.Helper()
	show := w.onHost("/usr/libexec/hybrid-agent/hybrid-agent-op", "show", "-o", "json")
	var operation struct {
		State   string `json:"state"`
		Records []struct {
			Kind    string `json:"kind"`
			Step    string `json:"step"`
			Attempt int    `json:"attempt"`
			Message string `json:"message"`
		} `json:"records"`
	}
	w.must(json.Unmarshal([]byte(show), &operation))
	if operation.State != "succeeded" {
		w.t.Errorf("operation is %s", operation.State)
	}
	for _, record := range operation.Records {
		if record.Attempt > 1 || record.Kind == "failed" {
			w.t.Errorf("step %s, attempt %d: %s %s", record.Step, record.Attempt, record.Kind, record.Message)
		}
	}
}

// requireNode compares what the cluster sees with what the host has.
func (w *world) requireNode(id string) {
	w.t.Helper()
	w.must(w.route(w.ctx))
	nodes, err := w.aws.Nodes(w.ctx)
	w.must(err)
	node := nodes[id]
	if !node.Ready || node.InternalIP != lab.LANAddress(1) || node.Peer() != lab.LANAddress(1) {
		w.t.Errorf("node is %+v; want it Ready with address and heartbeats of %s", node, lab.LANAddress(1))
	}
	for _, unit := range []string{"kubelet.service", "containerd.service"} {
		if state := w.property(unit, "ActiveState"); state != "active" {
			w.t.Errorf("%s is %s", unit, state)
		}
	}
	status, err := w.status(w.ctx)
	w.must(err)
	if status.Runner != "systemd" {
		w.t.Errorf("status says runner %q, want systemd", status.Runner)
	}
	if journal := w.onHost("journalctl", "--no-pager", "-o", "cat", "-u", "hybrid-agent*"); strings.Contains(journal, "PRIVATE KEY") {
		w.t.Error("a private key appears in the journal")
	}
}

func (w *world) requireTokenErased() {
	w.t.Helper()
	w.until("the token's erasure", 10*time.Second, func(ctx context.Context) error {
		if _, err := w.machine.Host.Exec(ctx, "test", "-s", "/etc/hybrid-agent/enrollment-token"); err == nil {
			return errors.New("the used enrolment token is still there")
		}
		return nil
	})
}

// requireLocalAccess checks who may read the state.
func (w *world) requireLocalAccess() {
	w.t.Helper()
	as := func(group string) error {
		_, err := w.machine.Host.Exec(w.ctx, "setpriv", "--reuid=nobody", "--regid="+group, "--clear-groups",
			"sh", "-c", "hybrid-agent status -o json || [ $? = 1 ]")
		return err
	}
	if err := as("hybrid-agent-status"); err != nil {
		w.t.Errorf("a member of hybrid-agent-status cannot read the status: %v", err)
	}
	if err := as("nogroup"); err == nil {
		w.t.Error("anybody can read the status")
	}
}

// requireForgeryRefused hands root, as the daemon's user, an operation that the plane did not sign.
func (w *world) requireForgeryRefused(id string) {
	w.t.Helper()
	ca, err := w.plane.CA()
	w.must(err)
	w.must(w.machine.WriteFile("etc/hybrid-lab/ca.pem", ca, 0o644))
	out, err := w.machine.Host.Exec(w.ctx, "setpriv", "--reuid=hybrid-agent", "--regid=hybrid-agent", "--clear-groups",
		"/usr/local/libexec/hybrid-lab/demo", "forge", "/run/hybrid-agent-op/op.sock", id, "/etc/hybrid-lab/ca.pem")
	if err != nil {
		w.t.Errorf("forged operation: %v", err)
	}
	w.t.Logf("forged operation refused: %s", strings.TrimSpace(out))
}

// requireOpEnds checks that root's program does not stay, and that its socket does.
func (w *world) requireOpEnds() {
	w.t.Helper()
	w.until("hybrid-agent-op.service to end", 30*time.Second, func(ctx context.Context) error {
		out, err := w.machine.Host.Exec(ctx, "systemctl", "show", "--property=ActiveState,Result,NRestarts", "hybrid-agent-op.service")
		if err != nil {
			return err
		}
		for _, want := range []string{"ActiveState=inactive", "Result=success", "NRestarts=0"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("it is %s; want %s", strings.Join(strings.Fields(out), " "), want)
			}
		}
		return nil
	})
	if state := w.property("hybrid-agent-op.socket", "ActiveState"); state != "active" {
		w.t.Errorf("hybrid-agent-op.socket is %s", state)
	}
}

// requireComesBack cuts the power while the plane is down: the route is back before the plane, the node stays Ready.
func (w *world) requireComesBack() {
	w.t.Helper()
	w.must(w.plane.Process.Stop(10 * time.Second))
	w.must(w.machine.PowerCut(w.ctx))
	begin := time.Now()
	w.must(w.machine.Boot(w.ctx))
	w.until("the route without the plane", 10*time.Second, w.route)
	w.t.Logf("route back %.1f s after power on, the plane is down", time.Since(begin).Seconds())
	w.until("the cached state", 30*time.Second, w.holds("NICSelected", "RoutesInstalled", "PathHealthy", "NodeReady"))
	status, err := w.status(w.ctx)
	w.must(err)
	if status.Plane.Connected || !status.Assignment.FromCache || status.Assignment.Pool != actors.PoolName {
		w.t.Errorf("connected %v, from the cache %v, pool %q", status.Plane.Connected, status.Assignment.FromCache, status.Assignment.Pool)
	}
	w.must(w.plane.Start(w.ctx))
	w.until("the pool to run again", time.Minute, w.poolRuns)
	w.until("the node to stay Ready", 20*time.Second, w.holds("Registered", "NodeReady"))
}
