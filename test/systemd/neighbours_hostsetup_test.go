//go:build systemd

package systemd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// canaryRule is a policy rule of nobody's: nothing puts it back, so that it shows what networkd does.
const canaryRule = "fwmark 0x4000/0x4000 lookup 4711"

// asksNetworkd sets networkd up to leave our routes alone and takes that back, and shows by the canary and by the daemon's repairs what each
// of them does.
func (w *world) asksNetworkd(suite string) {
	w.t.Helper()
	w.until("our policy rules", 30*time.Second, w.rules)
	w.canary(true)
	w.networkdTakesRules("before host-setup")
	w.shows("networkd", "disturbs", 0)

	w.hostSetup("write", "networkd")
	w.shows("networkd", "fine", 0)
	w.hostSetup("none", "networkd")
	w.onHost("sh", "-c", "systemctl restart systemd-networkd && "+waitOnline)
	w.canary(true)
	before := w.repairs()
	watched := w.machine.Host.WatchPresence(vpcPrefix(), ownProtocol, 2*time.Millisecond)
	w.onHost("sh", "-c", "for n in 1 2 3; do systemctl restart systemd-networkd && "+waitOnline+" || exit 1; done")
	if suite == newSystemd { // 252 takes the address away meanwhile, and the route with it
		w.onHost("sh", "-c", "networkctl reconfigure lan0 && "+waitOnline+" && systemctl restart systemd-networkd && "+waitOnline)
	}
	presence, err := watched()
	w.must(err)
	if n := w.repairs() - before; n != 0 || presence.Gaps > 0 {
		w.t.Errorf("networkd was asked to leave our routes alone: %d repairs, the route was %s", n, presence)
	}
	w.canary(false)

	w.must(w.machine.PowerCut(w.ctx))
	w.must(w.machine.Boot(w.ctx))
	w.until("the route after a boot with the drop-in", 30*time.Second, w.route)
	w.until("both default routes after a boot with the drop-in", 30*time.Second, w.defaultRoutes)

	w.hostSetup("remove", "networkd", "--undo")
	w.onHost("sh", "-c", "systemctl restart systemd-networkd && "+waitOnline)
	w.canary(true)
	w.networkdTakesRules("after --undo")
	w.until("a sound network", 30*time.Second, w.holds("NICSelected", "RoutesInstalled"))
}

// hostSetup runs hybrid-agent host-setup as root and wants that action.
func (w *world) hostSetup(action string, args ...string) {
	w.t.Helper()
	out := w.onHost("hybrid-agent", append(append([]string{"host-setup"}, args...), "-o", "json")...)
	var change struct {
		Action string   `json:"action"`
		Done   bool     `json:"done"`
		Notes  []string `json:"notes"`
	}
	w.must(json.Unmarshal([]byte(out), &change))
	if change.Action != action || change.Done != (action != "none") {
		w.t.Errorf("host-setup %s: %s, want %s", strings.Join(args, " "), out, action)
	}
	w.t.Logf("host-setup %s: %s %q", strings.Join(args, " "), change.Action, change.Notes)
}

// shows wants host-setup's verdict on a neighbour, and its exit code.
func (w *world) shows(id, verdict string, code int) {
	w.t.Helper()
	out, err := w.machine.Host.Exec(w.ctx, "hybrid-agent", "host-setup", "-o", "json")
	var exit *exec.ExitError
	if got := map[bool]int{true: 0, false: -1}[err == nil]; got != code && (!errors.As(err, &exit) || exit.ExitCode() != code) {
		w.t.Errorf("host-setup ended with %v, want exit code %d", err, code)
	}
	var list struct {
		Neighbours []struct{ ID, Verdict, Evidence string }
	}
	w.must(json.Unmarshal([]byte(out), &list))
	for _, n := range list.Neighbours {
		if n.ID == id {
			w.t.Logf("%s %s: %s", n.ID, n.Verdict, n.Evidence)
			if n.Verdict != verdict {
				w.t.Errorf("%s is %s, want %s", id, n.Verdict, verdict)
			}
			return
		}
	}
	w.t.Errorf("host-setup does not show %s: %s", id, out)
}

// canary adds the rule, or wants it to be still there.
func (w *world) canary(add bool) {
	w.t.Helper()
	if add {
		w.onHost("sh", "-c", "ip rule show | grep -q '"+canaryRule+"' || ip rule add "+canaryRule+" protocol 200")
		return
	}
	if rules := w.onHost("ip", "rule", "show"); !strings.Contains(rules, canaryRule) {
		w.t.Errorf("networkd has removed a foreign rule: %s", rules)
	}
}

// networkdTakesRules wants networkd to remove the canary as it configures a link anew: its way unless it is asked to do otherwise.
func (w *world) networkdTakesRules(when string) {
	w.t.Helper()
	w.onHost("networkctl", "reconfigure", "lan0")
	w.until("networkd to remove a foreign rule "+when, 20*time.Second, func(ctx context.Context) error {
		rules, err := w.machine.Host.Exec(ctx, "ip", "rule", "show")
		if err == nil && strings.Contains(rules, canaryRule) {
			return errors.New("it has not")
		}
		return err
	})
	w.until("the route "+when, 30*time.Second, w.route)
	w.until("our policy rules "+when, 30*time.Second, w.rules)
}

// rules wants the policy rules by which each VPN server is probed.
func (w *world) rules(ctx context.Context) error {
	out, err := w.machine.Host.Exec(ctx, "ip", "rule", "show")
	if n := strings.Count(out, "proto 104"); err == nil && n != 2 {
		return fmt.Errorf("%d rules are ours, want one for each of 2 VPN servers: %s", n, out)
	}
	return err
}
