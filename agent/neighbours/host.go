package neighbours

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"hybridagent/systemd"
)

// Host is the host that is looked at.
type Host struct {
	// Root is where its files are; "/" but in tests.
	Root string
	// Units returns the states of units; systemd.ErrNotRunning where there is no
	// systemd.
	Units func(ctx context.Context, names ...string) ([]systemd.UnitState, error)
	// Version returns systemd's version as it writes it itself, for example
	// "252.39-1~deb12u2".
	Version func(ctx context.Context) (string, error)
	// UnitOf returns the unit of a process; an error where there is none.
	UnitOf func(ctx context.Context, pid uint32) (string, error)
}

// Local is this host.
func Local() Host {
	return Host{Root: "/", Units: localUnits, Version: localVersion, UnitOf: localUnitOf}
}

func localUnits(ctx context.Context, names ...string) ([]systemd.UnitState, error) {
	units, err := systemd.OpenUnits(ctx)
	if err != nil {
		return nil, err
	}
	defer units.Close()
	return units.States(ctx, names...)
}

func localVersion(ctx context.Context) (string, error) {
	units, err := systemd.OpenUnits(ctx)
	if err != nil {
		return "", err
	}
	defer units.Close()
	return units.Version()
}

func localUnitOf(ctx context.Context, pid uint32) (string, error) {
	units, err := systemd.OpenUnits(ctx)
	if err != nil {
		return "", err
	}
	defer units.Close()
	return units.OfProcess(ctx, pid)
}

func (h Host) path(name string) string { return filepath.Join(h.Root, name) }

// running says which of the units run. Where there is no systemd, none does.
func (h Host) running(ctx context.Context, names ...string) (map[string]bool, error) {
	states, err := h.Units(ctx, names...)
	if errors.Is(err, systemd.ErrNotRunning) {
		return nil, nil
	}
	running := make(map[string]bool, len(states))
	for _, s := range states {
		running[s.Name] = s.Active == "active" || s.Active == "activating" || s.Active == "reloading"
	}
	return running, err
}

// release is systemd's version, as far as it matters here. The zero value is one
// that could not be found out.
type release struct {
	major, point int
	text         string
}

func (r release) String() string {
	if r.major == 0 {
		return "systemd of unknown version"
	}
	return "systemd " + r.text
}

// release asks for the version.
func (h Host) release(ctx context.Context) release {
	text, err := h.Version(ctx)
	if err != nil {
		return release{}
	}
	return parseRelease(text)
}

// parseRelease reads "252.39-1~deb12u2", "249.11-0ubuntu3" and "257". A release
// candidate ("256~rc2") counts as its release.
func parseRelease(text string) release {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(text)
	}
	major, err := strconv.Atoi(text[:end])
	if err != nil {
		return release{}
	}
	r := release{major: major, text: text}
	if rest, ok := strings.CutPrefix(text[end:], "."); ok {
		if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
			rest = rest[:end]
		}
		r.point, _ = strconv.Atoi(rest)
	}
	return r
}
