package neighbours

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestRival(t *testing.T) {
	t.Parallel()
	unitOf := func(_ context.Context, pid uint32) (string, error) {
		if pid == 512 {
			return managerUnit, nil
		}
		return "", errors.New("no such process")
	}
	with, without := hostWith(t, nil, "257", networkdUnit), hostWith(t, nil, "257")
	with.UnitOf, without.UnitOf = unitOf, unitOf
	for _, c := range []struct {
		host Host
		port uint32
		want string
	}{
		{with, 1, networkdUnit}, {without, 1, "systemd"}, {with, 512, managerUnit}, {with, 513, ""}, {with, 0, ""}, {with, 4026531840, ""},
	} {
		if got := c.host.Rival(c.port, time.Time{}); got != c.want {
			t.Errorf("port %d: %q, want %q", c.port, got, c.want)
		}
	}
}
