package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
)

// ErrNotRunning says that the host is not run by systemd.
var ErrNotRunning = errors.New("this host is not run by systemd")

// UnitState is what systemd says of a unit.
type UnitState struct {
	// Name of the unit, for example kubelet.service.
	Name string
	// Load is LoadState: loaded, not-found, masked and so on.
	Load string
	// Active is ActiveState: active, activating, failed, inactive and so on.
	Active string
	// Sub is SubState: running, exited, auto-restart and so on.
	Sub string
}

// Units reads unit states over D-Bus. It changes nothing.
type Units struct {
	conn *dbus.Conn
}

// OpenUnits connects to systemd; ErrNotRunning where there is none. The
// context bounds the connection's life.
func OpenUnits(ctx context.Context) (*Units, error) {
	if !Running() {
		return nil, ErrNotRunning
	}
	conn, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach systemd over D-Bus: %w", err)
	}
	return &Units{conn: conn}, nil
}

// Close ends the connection.
func (u *Units) Close() { u.conn.Close() }

// Version returns systemd's version as it writes it itself, for example
// "252.39-1~deb12u2".
func (u *Units) Version() (string, error) {
	text, err := u.conn.GetManagerProperty("Version") // a D-Bus value, in quotes
	if err != nil {
		return "", fmt.Errorf("cannot read systemd's version: %w", err)
	}
	return strings.Trim(text, `"`), nil
}

// OfProcess returns the unit that a process belongs to; an error where it has
// ended. systemd answers for processes of other users too, which /proc hides from a
// service with ProtectProc=invisible.
func (u *Units) OfProcess(ctx context.Context, pid uint32) (string, error) {
	name, err := u.conn.GetUnitNameByPID(ctx, pid)
	if err != nil {
		return "", fmt.Errorf("cannot find the unit of process %d: %w", pid, err)
	}
	return name, nil
}

// States returns the state of each named unit, in the order asked. A unit that
// does not exist has Load "not-found".
func (u *Units) States(ctx context.Context, names ...string) ([]UnitState, error) {
	statuses, err := u.conn.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("cannot read the state of units %v: %w", names, err)
	}
	return statesOf(statuses, names), nil
}

// statesOf puts what systemd answered into the order asked.
func statesOf(statuses []dbus.UnitStatus, names []string) []UnitState {
	found := make(map[string]UnitState, len(statuses))
	for _, status := range statuses {
		found[status.Name] = UnitState{
			Name: status.Name, Load: status.LoadState, Active: status.ActiveState, Sub: status.SubState,
		}
	}
	states := make([]UnitState, 0, len(names))
	for _, name := range names {
		state, ok := found[name]
		if !ok {
			state = UnitState{Name: name, Load: "not-found", Active: "inactive", Sub: "dead"}
		}
		states = append(states, state)
	}
	return states
}
