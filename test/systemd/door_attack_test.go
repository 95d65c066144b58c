//go:build systemd

package systemd

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hybridagent/agent/operation/optest"
	agentv1 "hybridagent/proto/hybrid/agent/v1"
)

// canary is what a root action would change.
type canary struct {
	files, units, processes []string
	sequence                string
}

// ownSocket is the daemon's: it may change its mode.
const ownSocket = opSocket + " "

func (d *doorHost) canary() canary {
	d.t.Helper()
	c := canary{
		files: strings.Split(d.onHost("/usr/local/bin/attacker", "snapshot", "/etc", "/usr", "/root", "/boot", "/opt", "/home", "/var/lib/hybrid-agent-op",
			"/var/lib/systemd", "/var/spool", "/run/systemd/system", "/run/systemd/transient", "/run/systemd/system.control", "/run/hybrid-agent-op", "/run/hybrid-agent"), "\n"),
		units:     strings.Split(d.onHost("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "--state=loaded"), "\n"),
		processes: strings.Split(d.onHost("ps", "-U", "0", "-o", "args="), "\n"),
		sequence:  d.onHost("cat", "/var/lib/hybrid-agent-op/operations/sequence"),
	}
	for i, unit := range c.units {
		c.units[i], _, _ = strings.Cut(strings.TrimSpace(unit), " ")
	}
	c.files = slices.DeleteFunc(c.files, func(line string) bool {
		// The socket is the daemon's own; systemd keeps times and its random seed; the
		// node's state is root's memory of what it last read.
		return strings.HasPrefix(line, ownSocket) || strings.HasPrefix(line, "/var/lib/systemd/timers/") || strings.HasPrefix(line, "/var/lib/systemd/random-seed") ||
			strings.HasPrefix(line, "/var/lib/hybrid-agent-op/node-state ") || strings.Contains(line, "/var/lib/systemd/catalog/")
	})
	return c
}

// requireSame compares the host before and after.
func (d *doorHost) requireSame(before, after canary) {
	d.t.Helper()
	for _, line := range after.files {
		if !slices.Contains(before.files, line) {
			d.t.Errorf("a file of root's is new or changed: %s", line)
		}
	}
	if len(before.files) < 1000 {
		d.t.Errorf("only %d files were looked at", len(before.files))
	}
	for _, unit := range after.units {
		if !slices.Contains(before.units, unit) && !d.shipped(unit) {
			d.t.Errorf("a unit is new: %s", unit)
		}
	}
	for _, args := range after.processes {
		// systemd's own are started by timers, and by whoever asks them on the bus.
		known := slices.Contains(before.processes, args) || strings.HasPrefix(args, "ps ") || strings.HasPrefix(strings.TrimPrefix(args, "/usr"), "/lib/systemd/")
		if !known && !strings.HasPrefix(args, "/usr/libexec/hybrid-agent/hybrid-agent-op serve") {
			d.t.Errorf("a process of root's is new: %s", args)
		}
	}
	if before.sequence != after.sequence {
		d.t.Errorf("the sequence was %s and is %s", before.sequence, after.sequence)
	}
}

// shipped reports whether a unit is Debian's own, which a timer may start.
func (d *doorHost) shipped(unit string) bool {
	path := strings.TrimPrefix(d.property(unit, "FragmentPath"), "/usr")
	return strings.HasPrefix(path, "/lib/systemd/") && !strings.Contains(path, "hybrid") || strings.HasSuffix(unit, ".device") ||
		strings.HasSuffix(unit, ".mount") || strings.HasPrefix(unit, "session-") || strings.HasPrefix(unit, "user@")
}

// TestAttackerInTheDaemon is somebody who has taken over the daemon: its user, its
// capability, its files and its socket. Nothing that root does may follow from it
// but what the plane has signed.
func TestAttackerInTheDaemon(t *testing.T) {
	onBoth(t, func(t *testing.T, suite string) {
		d := newDoorHost(t, suite)
		d.signEverything()
		// What the plane has signed is taken, and fails for want of nodeadm.
		if out := d.asDaemon("request", opSocket, framesAt+"/current.frame"); !strings.HasPrefix(out, "progress "+optest.Operation(5).GetId()) {
			t.Fatalf("the plane's own operation: %s", out)
		}
		d.until("its end", time.Minute, func(ctx context.Context) error {
			shown, err := d.operation(ctx)
			if err == nil && shown.State != "failed" {
				err = fmt.Errorf("it is %s", shown.State)
			}
			return err
		})
		d.onHost("systemctl", "stop", "hybrid-agent.service") // its user is the attacker from here on
		before := d.canary()

		said := d.asDaemon("frames", opSocket, framesAt)
		pid := d.property(opUnit, "MainPID")
		said += "\n" + d.asDaemon("host", pid)
		said += "\n" + d.strangerAtOpenSocket()
		t.Log(said)
		for line := range strings.Lines(said) {
			if strings.HasPrefix(line, "BREACH") {
				t.Error(line)
			}
		}
		d.requireAnswers(said)
		d.requireSame(before, d.canary())
		d.requireLogged()
		if files := d.onHost("sh", "-c", "ls /proc/"+d.property(opUnit, "MainPID")+"/fd | wc -l"); len(files) > 2 {
			t.Errorf("root's process has %s files open", files)
		}
		d.answered()
		d.requireOpenDoor()
	})
}

// signEverything writes the frames that the attacker replays: one is the plane's
// current operation, the others are each wrong in one way.
func (d *doorHost) signEverything() {
	d.t.Helper()
	d.must(d.machine.Host.Mkdir(framesAt, 0o755, 0, 0))
	other := optest.NewAuthority(d.t)
	foreign := optest.Operation(7)
	foreign.HostId = "edge-of-another"
	liveSwitch := optest.Operation(8)
	liveSwitch.Kind, liveSwitch.Node, liveSwitch.NodeDigest, liveSwitch.NodeIp = agentv1.OperationKind_OPERATION_KIND_LIVE_NETWORK_SWITCH, nil, "", ""
	liveSwitch.NetworkSwitch = &agentv1.NetworkSwitch{VpnServers: []string{"10.0.0.2"}}
	tampered := d.ca.Sign(d.t, optest.Operation(9))
	tampered.Operation[len(tampered.Operation)-1] ^= 1
	expired := d.ca.Sign(d.t, optest.Operation(9))
	expired.Chain = [][]byte{d.ca.Issue(d.t, d.ca.Signer.Public(), agentv1.SigningCertificateURI, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)), d.ca.Chain[1]}
	host := d.ca.Sign(d.t, optest.Operation(9))
	host.Chain = [][]byte{d.ca.Issue(d.t, d.ca.Signer.Public(), agentv1.HostCertificateURIPrefix+optest.HostID, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)), d.ca.Chain[1]}
	purpose := d.ca.Sign(d.t, optest.Operation(9))
	purpose.Context = "hybrid-agent assignment v1"
	purpose.Signature = ed25519.Sign(d.ca.Signer, agentv1.SigningInput(purpose.Context, purpose.GetOperation()))
	for name, env := range map[string]*agentv1.SignedOperation{
		"current": d.ca.Sign(d.t, optest.Operation(5)), "stale": d.ca.Sign(d.t, optest.Operation(3)), "foreign": d.ca.Sign(d.t, foreign),
		"forged": other.Sign(d.t, optest.Operation(9)), "tampered": tampered, "expired": expired, "host": host, "purpose": purpose,
		"switch": d.ca.Sign(d.t, liveSwitch), "abort": d.ca.Sign(d.t, optest.Of(4, agentv1.OperationKind_OPERATION_KIND_ABORT)),
		"again": d.ca.Sign(d.t, sameSequence()),
	} {
		d.frame(name, env)
	}
}

// sameSequence is another operation in the place of the current one.
func sameSequence() *agentv1.Operation {
	op := optest.Operation(6)
	op.Sequence = optest.Operation(5).GetSequence()
	return op
}

// requireAnswers checks what each frame was answered.
func (d *doorHost) requireAnswers(said string) {
	d.t.Helper()
	for frame, want := range map[string]string{
		"current.frame":  "progress " + optest.Operation(5).GetId() + " failed",
		"stale.frame":    "refused DOOR_REFUSAL_REASON_STALE",
		"again.frame":    "refused DOOR_REFUSAL_REASON_STALE",
		"abort.frame":    "refused DOOR_REFUSAL_REASON_STALE",
		"foreign.frame":  "refused DOOR_REFUSAL_REASON_FOREIGN",
		"forged.frame":   "refused DOOR_REFUSAL_REASON_UNSIGNED",
		"tampered.frame": "refused DOOR_REFUSAL_REASON_UNSIGNED",
		"host.frame":     "refused DOOR_REFUSAL_REASON_UNSIGNED",
		"purpose.frame":  "refused DOOR_REFUSAL_REASON_UNSIGNED",
		"expired.frame":  "refused DOOR_REFUSAL_REASON_PRECONDITION",
		"switch.frame":   "refused DOOR_REFUSAL_REASON_UNKNOWN_KIND",
		"abort":          "refused DOOR_REFUSAL_REASON_FORBIDDEN",
		"submit_local":   "refused DOOR_REFUSAL_REASON_FORBIDDEN",
		"forecast":       "refused DOOR_REFUSAL_REASON_",
		"labels":         "refused DOOR_REFUSAL_REASON_MALFORMED",
		"certificate":    "refused DOOR_REFUSAL_REASON_",
		"follow":         "refused DOOR_REFUSAL_REASON_MALFORMED",
		"unsigned":       "refused DOOR_REFUSAL_REASON_UNSIGNED",
		"huge":           "refused DOOR_REFUSAL_REASON_MALFORMED",
	} {
		times := 0
		for line := range strings.Lines(said) {
			if answer, ok := strings.CutPrefix(line, frame+": "); ok {
				times++
				if !strings.HasPrefix(answer, want) {
					d.t.Errorf("%s was answered %q, want %q", frame, answer, want)
				}
			}
		}
		if times == 0 {
			d.t.Errorf("%s was never answered", frame)
		}
	}
}

// requireLogged checks that root's journal tells of each kind of refusal, and by whom.
func (d *doorHost) requireLogged() {
	d.t.Helper()
	journal := d.onHost("journalctl", "--no-pager", "-o", "cat", "-u", opUnit)
	uid := d.onHost("id", "-u", "hybrid-agent")
	for _, reason := range []string{"STALE", "FOREIGN", "UNSIGNED", "FORBIDDEN", "MALFORMED", "UNKNOWN_KIND"} {
		found := false
		for line := range strings.Lines(journal) {
			found = found || strings.Contains(line, "DOOR_REFUSAL_REASON_"+reason) && strings.Contains(line, `"uid":`+uid)
		}
		if !found {
			d.t.Errorf("no refusal %s of user %s is in the journal", reason, uid)
		}
	}
}

// strangerAtOpenSocket connects as somebody else once the attacker has opened the
// socket file, which is the daemon's own, to everybody.
func (d *doorHost) strangerAtOpenSocket() string {
	d.t.Helper()
	if mode := d.onHost("stat", "-c", "%a", opSocket); mode != "777" {
		d.t.Errorf("the attacker did not open the socket: mode %s", mode)
	}
	out := d.onHost("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "/usr/local/bin/attacker", "request", opSocket, framesAt+"/current.frame")
	if !strings.HasPrefix(out, "refused DOOR_REFUSAL_REASON_FORBIDDEN") {
		d.t.Errorf("a stranger was answered %q", out)
	}
	return "stranger: " + out
}
