package command

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Units is the little that init does with systemd units. Names carry no suffix.
type Units interface {
	// Enable reloads unit files and enables the unit; a missing unit file is an error in systemd's words.
	Enable(unit string) error
	// Restart starts the unit anew; it does not wait for it to stay up.
	Restart(unit string) error
	// Stop ends the unit.
	Stop(unit string) error
	// Running tells whether the unit is active and running.
	Running(unit string) bool
}

// Systemctl controls units through systemctl, and so through systemd's D-Bus, as the real program does.
type Systemctl struct{}

func systemctl(args ...string) error {
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(string(out))
	text = strings.TrimPrefix(text, "Failed to enable unit: ")
	if text == "" {
		return fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), err)
	}
	return errors.New(text)
}

// Enable is daemon-reload and enable.
func (Systemctl) Enable(unit string) error {
	if err := systemctl("daemon-reload"); err != nil {
		return err
	}
	return systemctl("enable", "--quiet", unit+".service")
}

// Restart does not block on the unit's start job, as a D-Bus RestartUnit call does not.
func (Systemctl) Restart(unit string) error {
	return systemctl("restart", "--no-block", unit+".service")
}

// Stop waits for the unit to end.
func (Systemctl) Stop(unit string) error { return systemctl("stop", unit+".service") }

// Running asks for ActiveState and SubState. A unit with a job under way counts as not running: the real program's pauses are longer
// than any restart, the lab's are not.
func (Systemctl) Running(unit string) bool {
	out, err := exec.Command("systemctl", "show", "-p", "ActiveState,SubState,Job", unit+".service").Output()
	if err != nil {
		return false
	}
	have := strings.Fields(string(out))
	return slices.Contains(have, "ActiveState=active") && slices.Contains(have, "SubState=running") &&
		!slices.ContainsFunc(have, func(f string) bool { return strings.HasPrefix(f, "Job=") && f != "Job=0" && f != "Job=" })
}
