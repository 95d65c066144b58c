//go:build systemd

package systemd

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestHungDaemonIsRestarted: the watchdog ends a daemon that does nothing, and the route never goes.
func TestHungDaemonIsRestarted(t *testing.T) {
	w := installed(t, newSystemd)
	// Thirty seconds are too long for a test; all else of the unit stays.
	w.must(w.machine.WriteFile("etc/systemd/system/hybrid-agent.service.d/watchdog.conf", []byte("[Service]\nWatchdogSec=2s\n"), 0o644))
	w.must(w.machine.Boot(w.ctx))
	w.pool(w.enrolled())
	w.until("the route", 20*time.Second, w.route)
	pid := w.property("hybrid-agent.service", "MainPID")
	w.onHost("kill", "-STOP", pid)
	w.until("the daemon's restart", 20*time.Second, func(ctx context.Context) error {
		if err := w.route(ctx); err != nil {
			t.Errorf("the route went with the hung daemon: %v", err)
		}
		out, err := w.machine.Host.Exec(ctx, "systemctl", "show", "--property=MainPID,ActiveState", "hybrid-agent.service")
		if err != nil || strings.Contains(out, "MainPID="+pid+"\n") || !strings.Contains(out, "ActiveState=active") {
			return fmt.Errorf("it is %q, %w", out, err)
		}
		return nil
	})
	w.until("the restarted daemon", 20*time.Second, w.holds("Registered", "RoutesInstalled"))
}
