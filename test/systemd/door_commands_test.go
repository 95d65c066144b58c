//go:build systemd

package systemd

import (
	"strings"
	"testing"

	"hybridagent/agent/operation/optest"
)

// TestOperationCommands runs the commands of root and of a member of the status group
// on a host whose one operation has failed.
func TestOperationCommands(t *testing.T) {
	d := newDoorHost(t, newSystemd)
	d.asDaemon("request", opSocket, d.frame("current", d.ca.Sign(t, optest.Operation(5))))
	id := optest.Operation(5).GetId()
	for _, c := range []struct{ command, code, says string }{
		{"hybrid-agent operation watch " + id, "1", "nodeadm is not installed at /usr/local/bin/nodeadm"},
		{"hybrid-agent operation show", "0", "failed at"},
		{"setpriv --reuid=nobody --regid=hybrid-agent-status --clear-groups hybrid-agent operation show", "0", id},
		{"hybrid-agent operation plan", "1", "the host is in no pool"},
		{"hybrid-agent operation plan --kind leave", "0", "Path"},
		{"hybrid-agent operation repair --yes", "1", "this host is no node"},
		{"hybrid-agent operation abort --yes", "1", "it has ended (failed)"},
		{"setpriv --reuid=nobody --regid=hybrid-agent-status --clear-groups hybrid-agent operation repair --yes", "3", "only root may use " + opSocket},
		{"setpriv --reuid=hybrid-agent --regid=hybrid-agent --clear-groups hybrid-agent operation repair --yes", "3", "only root on this host may; run it with sudo"},
	} {
		out := d.onHost("sh", "-c", c.command+" 2>&1; echo code $?")
		if !strings.Contains(strings.Join(strings.Fields(out), " "), c.says) || !strings.HasSuffix(out, "code "+c.code) {
			t.Errorf("%s:\n%s\nwant code %s and %q", c.command, out, c.code, c.says)
		}
	}
}
