//go:build systemd

package systemd

import (
	"fmt"

	"hybridagent/test/lab"
)

// networkManager is Debian's package of it.
const networkManager = "network-manager"

// nmOnline waits until NetworkManager has finished with both NICs.
const nmOnline = "nm-online --quiet --timeout=30"

// nmDHCP makes NetworkManager manage both NICs, the LAN's by DHCP.
func (w *world) nmDHCP() {
	w.t.Helper()
	for nic, ipv4 := range map[string]string{
		"lan0":    "method=auto\nroute-metric=200\n",
		"office0": fmt.Sprintf("method=manual\naddress1=%s/24,192.168.77.1\nroute-metric=50\n", lab.OfficeAddress(w.machine.Number)),
	} {
		w.must(w.machine.WriteFile("etc/NetworkManager/system-connections/"+nic+".nmconnection",
			[]byte("[connection]\nid="+nic+"\ntype=ethernet\ninterface-name="+nic+"\n[ipv4]\n"+ipv4+"[ipv6]\nmethod=disabled\n"), 0o600))
	}
}

// nmNeighbour is the check of a host of NetworkManager. It leaves foreign routes alone while it keeps an address, and takes them with the
// address where it activates a connection anew.
func (w *world) nmNeighbour() {
	w.survives([]disturbance{
		{"reapply", "nmcli device reapply lan0", false},
		{"reapply of a change", "nmcli connection modify lan0 ipv4.route-metric 210 && nmcli device reapply lan0", false},
		{"restart", "systemctl restart NetworkManager", false},
		{"connection up", "nmcli connection up lan0", false},
		{"connection down and up", "nmcli connection down lan0 && nmcli connection up lan0", false},
		{"link down and up", "ip link set lan0 down && ip link set lan0 up", false},
		{"networking off and on", "nmcli networking off && nmcli networking on", false},
	}, nmOnline)
	w.cloudSetup()
	w.renumbered(func() { w.onHost("nmcli", "connection", "up", "lan0") })
}

// cloudSetup enables a timer of nm-cloud-setup's name, which Debian does not pack: host-setup tells that it has to go.
func (w *world) cloudSetup() {
	w.t.Helper()
	w.shows("networkmanager", "disturbs", 0)
	for unit, text := range map[string]string{
		"nm-cloud-setup.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
		"nm-cloud-setup.timer":   "[Timer]\nOnBootSec=1h\n[Install]\nWantedBy=timers.target\n",
	} {
		w.must(w.machine.WriteFile("etc/systemd/system/"+unit, []byte(text), 0o644))
	}
	w.shows("nm-cloud-setup", "absent", 0)
	w.onHost("systemctl", "daemon-reload")
	w.onHost("systemctl", "enable", "nm-cloud-setup.timer")
	w.shows("nm-cloud-setup", "conflicts", 1)
	w.onHost("systemctl", "disable", "nm-cloud-setup.timer")
	w.onHost("systemctl", "start", "nm-cloud-setup.timer")
	w.shows("nm-cloud-setup", "conflicts", 1)
	w.onHost("systemctl", "stop", "nm-cloud-setup.timer")
	w.shows("nm-cloud-setup", "absent", 0)
}
