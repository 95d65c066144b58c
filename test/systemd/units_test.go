//go:build systemd

package systemd

import (
	"encoding/json"
	"strings"
	"testing"
)

// maxExposure is what systemd-analyze security may say at most, from 0 (best) to 10. The op is root and writes system files by its nature.
var maxExposure = map[string]float64{
	"hybrid-agent.service":    1.8,
	"hybrid-agent-op.service": 6.2,
	"hybrid-plane.service":    1.5,
}

func TestUnits(t *testing.T) {
	w := newWorld(t)
	w.programs()
	w.install()
	w.machine.Binds["/usr/bin/hybrid-plane"] = w.bin.Plane
	w.configure("sha256:"+strings.Repeat("00", 32), "")
	w.must(w.machine.Boot(w.ctx))
	for unit, limit := range maxExposure {
		out, err := w.machine.Host.Command(w.ctx, "systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", unit).CombinedOutput()
		if err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("systemd-analyze verify %s: %v: %s", unit, err, out)
		}
		text := w.onHost("systemd-analyze", "security", "--no-pager", unit)
		lines := strings.Split(text, "\n")
		summary := strings.TrimSpace(lines[len(lines)-1])
		t.Log(summary)
		if got := exposure(t, summary); got > limit {
			t.Errorf("%s: exposure %.1f, at most %.1f wanted", unit, got, limit)
		}
	}
}

// exposure reads the figure of "→ Overall exposure level for UNIT: 1.4 OK".
func exposure(t *testing.T, summary string) float64 {
	t.Helper()
	_, rest, found := strings.Cut(summary, ".service: ")
	figure, _, _ := strings.Cut(rest, " ")
	var level float64
	if err := json.Unmarshal([]byte(figure), &level); err != nil || !found {
		t.Fatalf("cannot read the exposure from %q: %v", summary, err)
	}
	return level
}
