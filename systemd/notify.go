package systemd

import (
	"fmt"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Messages for Notify, see sd_notify(3).
const (
	// Ready ends the start of a Type=notify service.
	Ready = "READY=1"
	// Stopping announces the end of the service.
	Stopping = "STOPPING=1"
	// alive feeds the watchdog.
	alive = "WATCHDOG=1"
)

// Running reports whether the host was booted with systemd, by the test of
// sd_booted(3).
func Running() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Notify sends sd_notify(3) messages to the service manager. Without
// NOTIFY_SOCKET, that is when nobody listens, it does nothing.
func Notify(states ...string) error {
	message := strings.Join(states, "\n")
	if _, err := daemon.SdNotify(false, message); err != nil {
		return fmt.Errorf("cannot send %q to the service manager: %w", message, err)
	}
	return nil
}

// Status is the message that shows one line of text in systemctl status.
func Status(text string) string {
	return "STATUS=" + strings.ReplaceAll(text, "\n", " ")
}
