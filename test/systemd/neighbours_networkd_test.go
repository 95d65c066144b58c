//go:build systemd

package systemd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hybridagent/test/lab"
)

// waitOnline waits until networkd has finished with both NICs.
const waitOnline = "/lib/systemd/systemd-networkd-wait-online --timeout=30 --interface=lan0 --interface=office0"

// networkdStatic gives the host fixed addresses.
func (w *world) networkdStatic() {
	w.networkd(fmt.Sprintf("Address=%s/24\n[Route]\nGateway=%s\nMetric=200\n", lab.LANAddress(w.machine.Number), lab.LANGateway))
}

// networkdDHCP lets the host ask for its address in the LAN.
func (w *world) networkdDHCP() {
	w.networkd("DHCP=ipv4\n[DHCPv4]\nRouteMetric=200\n")
}

// networkd makes systemd-networkd manage both NICs; lan is what its file says of the one in the LAN. IPv6 is off: its duplicate address
// detection would take a second of each restart.
func (w *world) networkd(lan string) {
	w.t.Helper()
	office := fmt.Sprintf("Address=%s/24\n[Route]\nGateway=192.168.77.1\nMetric=50\n", lab.OfficeAddress(w.machine.Number))
	for path, text := range map[string]string{
		"network/10-lan.network":    "[Match]\nName=lan0\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n" + lan,
		"network/20-office.network": "[Match]\nName=office0\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n" + office,
		// So many restarts are the test's doing: systemd is not to give up on the unit.
		"system/systemd-networkd.service.d/limit.conf": "[Unit]\nStartLimitIntervalSec=0\n",
	} {
		w.must(w.machine.WriteFile("etc/systemd/"+path, []byte(text), 0o644))
	}
	_, err := w.machine.Offline(w.ctx, "systemctl", "enable", "systemd-networkd.service")
	w.must(err)
}

// sawLinkDown waits until networkd has seen lan0 go down: where it comes up sooner, networkd 252 gives up on the link ("Nexthop has invalid
// gateway"), whoever else is on the host.
const sawLinkDown = "until networkctl list --no-legend lan0 | grep -q ' off '; do :; done"

// disturbance is something that a neighbour does to the NIC.
type disturbance struct {
	what   string
	script string
	// removes says that it deletes the route, so that a repair is counted. One that the kernel flushed may come back by the daemon's next look
	// at the network as well, which counts none.
	removes bool
}

// networkdDoes is what an operator makes networkd do. The releases differ: 257 removes foreign routes when it starts, 252 only when it
// configures a link anew.
func networkdDoes(suite string) []disturbance {
	edit := `printf '[Network]\nIPv6AcceptRA=no\n# %d\n' >/etc/systemd/network/10-lan.network.d/edit.conf && networkctl reload`
	return []disturbance{
		{"restart", "systemctl restart systemd-networkd", suite == newSystemd},
		{"reload of unchanged files", "networkctl reload", false},
		{"reconfigure", "networkctl reconfigure lan0", suite == newSystemd},
		{"first edit", "mkdir -p /etc/systemd/network/10-lan.network.d && " + fmt.Sprintf(edit, 1), false},
		{"second edit", fmt.Sprintf(edit, 2), false},
		{"link down and up", "ip link set lan0 down && " + sawLinkDown + " && ip link set lan0 up", false},
		{"networkctl down and up", "networkctl down lan0 && " + sawLinkDown + " && networkctl up lan0", false},
	}
}

// survives disturbs the host and wants the route back each time, and the loss noticed where there is one.
func (w *world) survives(disturbances []disturbance, settled string) {
	w.t.Helper()
	for _, d := range disturbances {
		before := w.repairs()
		w.onHost("sh", "-c", d.script)
		w.onHost("sh", "-c", settled)
		w.until("the route after "+d.what, 30*time.Second, w.route)
		if d.removes {
			w.until("the repair after "+d.what, 10*time.Second, func(ctx context.Context) error { return w.blamed(ctx, before, "systemd-networkd.service") })
		}
		w.until("a sound network after "+d.what, 30*time.Second, w.holds("NICSelected", "RoutesInstalled"))
		w.t.Logf("%s: %d repairs", d.what, w.repairs()-before)
	}
}

// blamed wants more repairs than that, and the rival named.
func (w *world) blamed(ctx context.Context, before int, rival string) error {
	status, err := w.status(ctx)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(status.Network.Repairs); err != nil || n == before || status.Network.LastRival != rival {
		return fmt.Errorf("there were %d repairs and are %d, %w; the last rival is %q, want %q", before, n, err, status.Network.LastRival, rival)
	}
	return nil
}

// repairs is how many routes the daemon has put back since its start.
func (w *world) repairs() int {
	w.t.Helper()
	status, err := w.status(w.ctx)
	w.must(err)
	n, err := strconv.Atoi(status.Network.Repairs)
	w.must(err)
	return n
}

// networkdNeighbour is the check of a host with fixed addresses.
func (w *world) networkdNeighbour(suite string) {
	w.survives(networkdDoes(suite), waitOnline)
	w.survivesRestarts()
	w.asksNetworkd(suite)
}

// survivesRestarts restarts networkd twenty times without a pause.
func (w *world) survivesRestarts() {
	w.t.Helper()
	before := w.repairs()
	watched := w.machine.Host.WatchPresence(vpcPrefix(), ownProtocol, 2*time.Millisecond)
	w.onHost("sh", "-c", "for n in $(seq 20); do systemctl restart systemd-networkd || exit 1; done; "+waitOnline)
	w.until("the route after twenty restarts", 30*time.Second, w.route)
	presence, err := watched()
	w.must(err)
	w.t.Logf("twenty restarts: %d repairs; the route was %s", w.repairs()-before, presence)
	if presence.Ratio() < 0.5 {
		w.t.Errorf("the route was %s; want it there most of the time", presence)
	}
	w.until("a sound network after twenty restarts", 30*time.Second, w.holds("NICSelected", "RoutesInstalled"))
	w.until("both default routes after twenty restarts", 30*time.Second, w.defaultRoutes)
}

// defaultRoutes wants networkd's own default routes.
func (w *world) defaultRoutes(ctx context.Context) error {
	out, err := w.machine.Host.Exec(ctx, "ip", "-4", "route", "show", "default")
	if err == nil && strings.Count(out, "default") != 2 {
		return fmt.Errorf("default routes are %q; want both", out)
	}
	return err
}
