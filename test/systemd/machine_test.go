//go:build systemd

package systemd

import (
	"strings"
	"testing"

	"hybridagent/test/lab"
)

// TestMachineLosesPower checks the lab's own promise: a power cut keeps the disk and nothing of the kernel's state.
func TestMachineLosesPower(t *testing.T) {
	w := newWorld(t)
	m := w.machine
	w.must(m.WriteFile("etc/on-disk", []byte("kept\n"), 0o644))
	for range 2 {
		w.must(m.Boot(w.ctx))
		want := strings.Join([]string{"edge-1", "kept", lab.MachineID(w.site.Name, 1), "systemd"}, "\n")
		if got := w.onHost("sh", "-c", "hostname; cat /etc/on-disk /etc/machine-id; ps -o comm= -p 1"); got != want {
			t.Errorf("host says %q, want %q", got, want)
		}
		w.onHost("ping", "-c", "1", "-W", "1", lab.VPNServer)
		if got := w.onHost("ip", "route", "show", lab.VPCCIDR); got != "" {
			t.Errorf("a route outlived the power cut: %s", got)
		}
		w.onHost("ip", "route", "replace", lab.VPCCIDR, "via", lab.VPNServer)
		w.must(m.PowerCut(w.ctx))
	}
}
