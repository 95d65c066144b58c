//go:build systemd

package contract

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/test/lab"
)

// insideEnv is set where this binary runs on the systemd host.
const insideEnv = "NODEADM_CONTRACT_INSIDE"

// Where the host finds what the outer half shows to it.
const (
	insideSelf    = "/usr/local/libexec/contract"
	insideStandIn = "/usr/local/libexec/fakenodeadm"
	insideReal    = "/usr/local/libexec/nodeadm"
	insideTable   = "/usr/local/libexec/facts.json"
	insideTools   = "/usr/local/libexec/containerd"
)

func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) == "" {
		lab.Main()
	}
	os.Exit(m.Run())
}

// TestRecordedRuns starts every recorded run on a systemd host and wants the recorded end. Outside it boots the host and starts itself
// there.
func TestRecordedRuns(t *testing.T) {
	if os.Getenv(insideEnv) != "" {
		inside(t)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit())
	defer cancel()
	m := boot(ctx, t)
	out, err := m.Host.Command(ctx, "env", insideEnv+"=1", insideSelf, "-test.run=^TestRecordedRuns$/"+os.Getenv("NODEADM_CASES"), "-test.v", "-test.timeout="+limit().String()).CombinedOutput()
	t.Log(out)
	if err != nil {
		t.Errorf("the runs on the host: %v", err)
	}
}

// limit is what the stand-in needs in lab time, many times over; the real program waits for real.
func limit() time.Duration {
	if os.Getenv("NODEADM_BIN") != "" {
		return 2 * time.Hour
	}
	return 15 * time.Minute
}

func boot(ctx context.Context, t *testing.T) *lab.Machine {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	folder := t.TempDir()
	site, err := lab.New(ctx, lab.Options{Folder: folder, SystemdEdges: 1})
	must(err)
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Error(err)
		}
		if left, err := lab.Leftovers(folder); err != nil || len(left) > 0 {
			t.Errorf("left behind: %q, %v", left, err)
		}
	})
	base, err := lab.Rootfs(ctx, "bookworm") // the release of the recorded runs: later systemds word some errors anew
	must(err)
	m, err := site.NewMachine(1, base)
	must(err)
	must(binds(m))
	hosts := "127.0.0.1 localhost\n10.80.0.5 store-17-a\n"
	must(m.WriteFile("etc/hosts", []byte(hosts), 0o644))
	must(m.Boot(ctx))
	must(m.Host.IP(ctx, "address add 10.80.0.5/24 dev lan0"))
	return m
}

// binds shows the host this binary, the stand-in, the table, and what the environment names of the real program.
func binds(m *lab.Machine) error {
	repo, err := lab.Repository()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	m.Binds[insideSelf] = self
	m.Binds[insideStandIn] = filepath.Join(repo, "build/lab/fakenodeadm")
	m.Binds[insideTable] = filepath.Join(repo, "test/fakenodeadm/testdata/facts.json")
	for name, target := range map[string]string{"NODEADM_BIN": insideReal, "NODEADM_CONTAINERD": insideTools} {
		if path := os.Getenv(name); path != "" {
			if m.Binds[target], err = filepath.Abs(strings.TrimSpace(path)); err != nil {
				return err
			}
		}
	}
	return nil
}
