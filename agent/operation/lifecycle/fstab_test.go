package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const withSwap = "/dev/sda1 / ext4 defaults 0 1\n/swap.img none swap sw 0 0\n"

// TestSwapLinesAreKept: whatever operations come, the lines that nodeadm's first
// init dropped can be had back after the host has left, and it is said where.
func TestSwapLinesAreKept(t *testing.T) {
	for _, c := range []struct {
		name string
		// ends has the host be no node any more.
		ends func(*host)
	}{
		{"leave", func(h *host) {
			wantState(h.t, h.provision(order(1, provisionKind, nil)), succeeded)
			wantState(h.t, h.provision(order(2, repaveKind, newer)), succeeded)
			wantState(h.t, h.provision(order(3, repaveKind, maxPods)), succeeded)
			wantState(h.t, h.provision(order(4, leaveKind, nil)), succeeded)
		}},
		{"provision taken back", func(h *host) {
			h.options.Environment["FAKE_BROKEN"] = "1.31.5"
			h.options.ReadyDeadline = waitPoll
			wantState(h.t, h.provision(order(1, provisionKind, nil)), failed)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newBare(t, "", "")
			write(t, filepath.Join(h.root, "etc/fstab"), []byte(withSwap))
			var said []string
			h.options.Line = func(_, text string) { said = append(said, text) }
			c.ends(h)
			if got := string(read(t, filepath.Join(h.root, fstabKept))); got != withSwap {
				t.Errorf("kept %q", got)
			}
			if last := strings.Join(said, "\n"); !strings.Contains(last, fstabKept) || !strings.Contains(last, "- /swap.img none swap") {
				t.Errorf("said %q", last)
			}
			for _, name := range []string{fstabBackup, fstabFirst} {
				if _, err := os.Stat(filepath.Join(h.options.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is left: %v", name, err)
				}
			}
		})
	}
}
