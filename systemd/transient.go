package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// killAfter is how long the processes of a stopped unit may take before
// SIGKILL.
const killAfter = 10 * time.Second

// TransientUnit is a service that exists until it is removed and is written to
// no file.
type TransientUnit struct {
	// Name ends in .service.
	Name string
	// Description is what systemctl shows.
	Description string
	// Argv is the program's absolute path and its arguments.
	Argv []string
	// Env is NAME=value; systemd adds its own defaults, PATH among them.
	Env []string
	// Output is an existing file to which standard output and error are added.
	Output string
	// MaxRuntime ends the unit even if nobody is left to end it; 0: never.
	MaxRuntime time.Duration
	// Fields are added to what systemd itself logs of the unit.
	Fields map[string]string
}

// UnitExit is how a transient unit's main process ended.
type UnitExit struct {
	// Code is the exit code; -1 when a signal ended it.
	Code int
	// Signal names the signal, or is empty.
	Signal string
	// Timeout is set when MaxRuntime was over.
	Timeout bool
}

// ErrNoUnit says that a unit is not there, or no longer.
var ErrNoUnit = errors.New("systemd knows no such unit")

// Manager starts and ends transient units. It needs root.
type Manager struct{ conn *dbus.Conn }

// OpenManager connects to systemd, over the system bus or, without one, over
// systemd's own socket. The connection lives until Close, not until the context
// ends: a unit is ended just when its context is over. ErrNotRunning where there
// is no systemd.
func OpenManager(ctx context.Context) (*Manager, error) {
	if !Running() {
		return nil, ErrNotRunning
	}
	conn, err := dbus.NewWithContext(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("cannot reach systemd: %w", err)
	}
	return &Manager{conn: conn}, nil
}

// Close ends the connection; units go on.
func (m *Manager) Close() { m.conn.Close() }

// Start starts a transient unit and waits until its program runs, or could not
// be run, which Exit then tells. The unit stays known to systemd after its end,
// with its exit code, until Remove.
func (m *Manager) Start(ctx context.Context, unit TransientUnit) error {
	started := make(chan string, 1)
	if _, err := m.conn.StartTransientUnitContext(ctx, unit.Name, "fail", unit.properties(), started); err != nil {
		return fmt.Errorf("cannot start unit %s: %w", unit.Name, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("cannot wait for the start of unit %s: %w", unit.Name, ctx.Err())
	case result := <-started:
		// failed is the program's affair, the rest is systemd's.
		if result != "done" && result != "failed" {
			return fmt.Errorf("cannot start unit %s: systemd says %q", unit.Name, result)
		}
		return nil
	}
}

func (u TransientUnit) properties() []dbus.Property {
	property := func(name string, value any) dbus.Property {
		return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
	}
	properties := []dbus.Property{
		dbus.PropDescription(u.Description),
		dbus.PropExecStart(escaped(u.Argv), true),
		// exec: a program that cannot be executed fails at once.
		dbus.PropType("exec"),
		// Keeps the unit, and with it the exit code 0, until it is asked for.
		dbus.PropRemainAfterExit(true),
		property("Environment", u.Env),
		property("WorkingDirectory", "/"),
		property("KillMode", "control-group"),
		property("SendSIGKILL", true),
		property("TimeoutStopUSec", uint64(killAfter.Microseconds())),
		property("StandardInput", "null"),
	}
	if u.Output != "" {
		properties = append(properties,
			property("StandardOutputFileToAppend", u.Output),
			property("StandardErrorFileToAppend", u.Output))
	}
	if u.MaxRuntime > 0 {
		properties = append(properties, property("RuntimeMaxUSec", uint64(u.MaxRuntime.Microseconds())))
	}
	var fields [][]byte
	for name, value := range u.Fields {
		fields = append(fields, []byte(name+"="+strings.ReplaceAll(value, "\n", " ")))
	}
	if len(fields) > 0 {
		properties = append(properties, property("LogExtraFields", fields))
	}
	return properties
}

// escaped keeps systemd from replacing variables in the arguments
// (systemd.service(5), "Command lines").
func escaped(argv []string) []string {
	out := make([]string, 0, len(argv))
	for _, arg := range argv {
		out = append(out, strings.ReplaceAll(arg, "$", "$$"))
	}
	return out
}

// Exit returns how a unit's main process ended, and whether it has ended at
// all. ErrNoUnit where the unit is not there.
func (m *Manager) Exit(ctx context.Context, name string) (UnitExit, bool, error) {
	statuses, err := m.conn.ListUnitsByNamesContext(ctx, []string{name})
	if err != nil {
		return UnitExit{}, false, fmt.Errorf("cannot read the state of unit %s: %w", name, err)
	}
	if len(statuses) == 0 || statuses[0].LoadState == "not-found" {
		return UnitExit{}, false, ErrNoUnit
	}
	switch status := statuses[0]; {
	case status.JobId != 0:
		// A unit whose start is still queued reads inactive, one whose stop is
		// reads exited.
		return UnitExit{}, false, nil
	case status.ActiveState == "active" && status.SubState == "exited", status.ActiveState == "failed", status.ActiveState == "inactive":
	default:
		return UnitExit{}, false, nil
	}
	properties, err := m.conn.GetUnitTypePropertiesContext(ctx, name, "Service")
	if err != nil {
		return UnitExit{}, false, fmt.Errorf("cannot read the exit code of unit %s: %w", name, err)
	}
	return exitOf(properties), true, nil
}

// exitOf reads ExecMainCode, a CLD_ value of waitid(2), and ExecMainStatus,
// which is an exit code or a signal accordingly.
func exitOf(properties map[string]any) UnitExit {
	const exited = 1
	code, _ := properties["ExecMainCode"].(int32)
	status, _ := properties["ExecMainStatus"].(int32)
	result, _ := properties["Result"].(string)
	exit := UnitExit{Timeout: result == "timeout"}
	switch {
	case code == exited:
		exit.Code = int(status)
	case code == 0:
		// No process ever ran: systemd could not set the unit up.
		exit.Code, exit.Signal = -1, "none ("+result+")"
	default:
		exit.Code, exit.Signal = -1, unix.SignalName(unix.Signal(status))
	}
	return exit
}

// Remove ends a unit with all its processes and makes systemd forget it. A unit
// that is not there is no error.
func (m *Manager) Remove(ctx context.Context, name string) error {
	if _, err := m.conn.StopUnitContext(ctx, name, "replace", nil); err != nil && !noSuchUnit(err) {
		return fmt.Errorf("cannot stop unit %s: %w", name, err)
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, ended, err := m.Exit(ctx, name)
		if errors.Is(err, ErrNoUnit) {
			return nil
		}
		if err != nil {
			return err
		}
		if ended {
			// Units that are neither failed nor loaded any more are fine too.
			if err := m.conn.ResetFailedUnitContext(ctx, name); err != nil && !noSuchUnit(err) {
				return fmt.Errorf("cannot make systemd forget unit %s: %w", name, err)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for the end of unit %s: %w", name, ctx.Err())
		case <-ticker.C:
		}
	}
}

// noSuchUnit recognises systemd's error for a unit that is not loaded.
func noSuchUnit(err error) bool {
	var dbusError godbus.Error
	return errors.As(err, &dbusError) && dbusError.Name == "org.freedesktop.systemd1.NoSuchUnit"
}

// RestartRunning restarts those of the named units that are active or on their way
// there, and returns them. It waits until systemd has begun with it.
func (m *Manager) RestartRunning(ctx context.Context, names ...string) ([]string, error) {
	statuses, err := m.conn.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("cannot read the state of units %v: %w", names, err)
	}
	var restarted []string
	for _, status := range statuses {
		if status.ActiveState != "active" && status.ActiveState != "activating" {
			continue
		}
		if _, err := m.conn.RestartUnitContext(ctx, status.Name, "replace", nil); err != nil {
			return restarted, fmt.Errorf("cannot restart unit %s: %w", status.Name, err)
		}
		restarted = append(restarted, status.Name)
	}
	return restarted, nil
}
