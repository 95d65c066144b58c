//go:build systemd

package systemd

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"hybridagent/agent/operation"
	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
	"hybridagent/test/lab/actors"
)

const (
	opUnit   = "hybrid-agent-op.service"
	opSocket = "/run/hybrid-agent-op/op.sock"
	framesAt = "/var/tmp/frames"
)

// doorHost is an installed host whose plane is the test: it signs what it likes. No
// plane answers it, and nothing but operations would need one.
type doorHost struct {
	*world
	ca *optest.Authority
}

func newDoorHost(t *testing.T, suite string) *doorHost {
	t.Helper()
	d := &doorHost{world: newWorldOn(t, suite), ca: optest.NewAuthority(t)}
	d.programs()
	attacker := filepath.Join(d.site.Folder, "attacker")
	build := exec.CommandContext(d.ctx, "go", "build", "-o", attacker, "./test/systemd/testdata/attacker")
	build.Dir, build.Env = d.repo, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the attacker: %v: %s", err, out)
	}
	d.install()
	d.machine.Binds["/usr/local/bin/attacker"] = attacker
	config := actors.Config(operation.PinOf(d.ca.Cert).String(), "host: {name: "+optest.HostID+"}\n")
	d.must(d.machine.WriteFile("etc/hybrid-agent/config.yaml", []byte(config), 0o644))
	d.must(d.machine.WriteFile("etc/iam/pki/.keep", nil, 0o600))
	d.must(d.machine.Boot(d.ctx))
	d.until("the daemon", 20*time.Second, func(ctx context.Context) error {
		_, err := d.machine.Host.Exec(ctx, "systemctl", "is-active", "hybrid-agent.service", "hybrid-agent-op.socket")
		return err
	})
	return d
}

// asDaemon runs the attacker as the daemon's user, with what its unit gives it.
func (d *doorHost) asDaemon(args ...string) string {
	d.t.Helper()
	return d.onHost("setpriv", append([]string{
		"--reuid=hybrid-agent", "--regid=hybrid-agent", "--clear-groups", "--no-new-privs",
		"--inh-caps=-all,+net_admin", "--ambient-caps=+net_admin", "--bounding-set=-all,+net_admin", "/usr/local/bin/attacker",
	}, args...)...)
}

// frame writes a signed operation to the host, as the daemon would send it.
func (d *doorHost) frame(name string, env *agentv1.SignedOperation) string {
	d.t.Helper()
	payload, err := proto.Marshal(&agentv1.DoorRequest{Request: &agentv1.DoorRequest_Submit{Submit: env}})
	d.must(err)
	d.must(d.machine.Host.WriteFile(filepath.Join(framesAt, name+".frame"), append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...), 0o644, 0, 0))
	return filepath.Join(framesAt, name+".frame")
}

// answered checks that the door answers a request of the daemon's.
func (d *doorHost) answered() {
	d.t.Helper()
	d.until("an answer of the door", 20*time.Second, func(context.Context) error {
		if out := d.asDaemon("burst", opSocket, "1"); !strings.Contains(out, "1 answered *agentv1.DoorReply_EraseToken") {
			return fmt.Errorf("it answered %q", out)
		}
		return nil
	})
}

// properties reads some properties of a unit.
func (d *doorHost) properties(unit string, names ...string) string {
	d.t.Helper()
	return strings.Join(strings.Fields(d.onHost("systemctl", "show", "--property="+strings.Join(names, ","), unit)), " ")
}

// mostProcesses samples, until done is closed, how many processes of root's program
// there are at once.
func (d *doorHost) mostProcesses(done <-chan struct{}) <-chan int {
	most := make(chan int, 1)
	go func() {
		highest := 0
		for {
			out, _ := d.machine.Host.Command(d.ctx, "pgrep", "-c", "-f", "^/usr/libexec/hybrid-agent/hybrid-agent-op").Output()
			count := 0
			_, _ = fmt.Sscan(out, &count)
			highest = max(highest, count)
			select {
			case <-done:
				most <- highest
				return
			default:
			}
		}
	}()
	return most
}

// onBoth runs a test on hosts with both versions of systemd, side by side.
func onBoth(t *testing.T, run func(t *testing.T, suite string)) {
	t.Helper()
	for name, suite := range map[string]string{"systemd 257": newSystemd, "systemd 252": oldSystemd} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, suite)
		})
	}
}

// TestDoorInABurst checks that 500 connections at once neither close the door nor
// multiply root's processes, whether root's program runs, has ended or is killed in
// the middle.
func TestDoorInABurst(t *testing.T) {
	onBoth(t, func(t *testing.T, suite string) {
		d := newDoorHost(t, suite)
		d.answered()
		done := make(chan struct{})
		most := d.mostProcesses(done)
		t.Logf("served:\n%s", d.asDaemon("burst", opSocket, "500"))
		d.requireOpEnds()
		t.Logf("started by the burst:\n%s", d.asDaemon("burst", opSocket, "500"))
		d.answered()
		before := d.property(opUnit, "MainPID")
		killed := make(chan string, 1)
		go func() { killed <- d.asDaemon("burst", opSocket, "500") }()
		d.onHost("systemctl", "kill", "--signal=KILL", opUnit)
		t.Logf("killed in the middle:\n%s", <-killed)
		d.answered()
		close(done)
		if n := <-most; n != 1 {
			t.Errorf("there were %d processes of hybrid-agent-op at once, want 1", n)
		}
		if after := d.property(opUnit, "MainPID"); after == before || after == "0" {
			t.Errorf("the killed process %s was not replaced: MainPID is %s", before, after)
		}
		d.requireOpenDoor()
	})
}

// requireOpenDoor checks that no limit of systemd's has closed the socket.
func (d *doorHost) requireOpenDoor() {
	d.t.Helper()
	want := "Result=success TriggerLimitIntervalUSec=0 ActiveState=active"
	got := d.properties("hybrid-agent-op.socket", "Result", "TriggerLimitIntervalUSec", "ActiveState")
	for _, property := range strings.Fields(want) {
		if !strings.Contains(got+" ", property+" ") {
			d.t.Errorf("the socket is %s, want %s", got, want)
		}
	}
	if got := d.property(opUnit, "StartLimitIntervalUSec"); got != "0" {
		d.t.Errorf("StartLimitIntervalUSec of the service is %s, want 0", got)
	}
	journal := d.onHost("journalctl", "--no-pager", "-o", "cat", "-u", "hybrid-agent-op.socket", "-u", opUnit)
	for _, bad := range []string{"hit the trigger limit", "Start request repeated too quickly", "trigger-limit-hit", "start-limit-hit"} {
		if strings.Contains(journal, bad) {
			d.t.Errorf("the journal says %q", bad)
		}
	}
}

// TestDoorUnderHalfOpenConnections fills the door with connections that never end
// their frame: root is served, and afterwards the daemon is.
func TestDoorUnderHalfOpenConnections(t *testing.T) {
	d := newDoorHost(t, newSystemd)
	d.answered()
	held := make(chan string, 1)
	go func() { held <- d.asDaemon("hold", opSocket, "3000", "8s") }()
	d.until("a full door", 20*time.Second, func(context.Context) error {
		if out := d.asDaemon("burst", opSocket, "1"); !strings.Contains(out, "REASON_BUSY") {
			return fmt.Errorf("it answered %q", out)
		}
		return nil
	})
	if out := d.onHost("/usr/local/bin/attacker", "burst", opSocket, "1"); !strings.Contains(out, "1 answered") {
		t.Errorf("root is kept out: %s", out)
	}
	t.Log(<-held)
	d.answered()
	pid := d.property(opUnit, "MainPID")
	if files := d.onHost("sh", "-c", "ls /proc/"+pid+"/fd | wc -l"); len(files) > 2 {
		t.Errorf("root's process has %s files open", files)
	}
	t.Log(d.onHost("grep", "VmHWM", "/proc/"+pid+"/status"))
	d.requireOpenDoor()
}
