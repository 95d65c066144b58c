package systemd

import (
	"context"
	"fmt"
)

// Reboot asks systemd to reboot the host properly, and returns once it has begun
// to: units are stopped and file systems unmounted, as by systemctl reboot
// (systemctl(1): the job replaces others irreversibly).
func (m *Manager) Reboot(ctx context.Context) error {
	if _, err := m.conn.StartUnitContext(ctx, "reboot.target", "replace-irreversibly", nil); err != nil {
		return fmt.Errorf("cannot have systemd reboot the host: %w", err)
	}
	return nil
}
