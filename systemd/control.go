package systemd

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ActiveFor says whether a unit is active, and for how long since its last start;
// one that is not known is not active.
func (m *Manager) ActiveFor(ctx context.Context, name string) (bool, time.Duration, error) {
	properties, err := m.conn.GetUnitPropertiesContext(ctx, name)
	if err != nil {
		return false, 0, fmt.Errorf("cannot read the state of unit %s: %w", name, err)
	}
	if state, _ := properties["ActiveState"].(string); state != "active" {
		return false, 0, nil
	}
	entered, _ := properties["ActiveEnterTimestampMonotonic"].(uint64)
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return false, 0, fmt.Errorf("cannot read the monotonic clock: %w", err)
	}
	return true, time.Duration(now.Nano()) - time.Duration(entered)*time.Microsecond, nil
}

// StopUnit stops a unit, waits until it has stopped, and makes systemd forget that
// it had failed. A unit that is not there is no error.
func (m *Manager) StopUnit(ctx context.Context, name string) error {
	stopped := make(chan string, 1)
	if _, err := m.conn.StopUnitContext(ctx, name, "replace", stopped); err != nil {
		if noSuchUnit(err) {
			return nil
		}
		return fmt.Errorf("cannot stop unit %s: %w", name, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("cannot wait until unit %s has stopped: %w", name, ctx.Err())
	case <-stopped:
	}
	if err := m.conn.ResetFailedUnitContext(ctx, name); err != nil && !noSuchUnit(err) {
		return fmt.Errorf("cannot make systemd forget that unit %s failed: %w", name, err)
	}
	return nil
}

// Reload has systemd read its unit files again (systemctl daemon-reload).
func (m *Manager) Reload(ctx context.Context) error {
	if err := m.conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("cannot have systemd read its unit files again: %w", err)
	}
	return nil
}
