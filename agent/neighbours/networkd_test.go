package neighbours

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hybridagent/systemd"
)

// hostWith makes a host with those files (path without the leading slash to
// content), those units active, and that version of systemd.
func hostWith(t *testing.T, files map[string]string, version string, active ...string) Host {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		writeFile(t, filepath.Join(root, path), content)
	}
	return Host{
		Root: root,
		Units: func(_ context.Context, names ...string) ([]systemd.UnitState, error) {
			var states []systemd.UnitState
			for _, name := range names {
				state := systemd.UnitState{Name: name, Load: "not-found", Active: "inactive"}
				for _, a := range active {
					if a == name {
						state.Active = "active"
					}
				}
				states = append(states, state)
			}
			return states, nil
		},
		Version: func(context.Context) (string, error) {
			if version == "" {
				return "", errors.New("no bus")
			}
			return version, nil
		},
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// change plans and does it.
func change(t *testing.T, h Host, undo bool) Change {
	t.Helper()
	c, err := h.Plan(t.Context(), undo, false)
	if err == nil {
		c, err = h.Do(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWriteAndUndo(t *testing.T) {
	t.Parallel()
	h := hostWith(t, nil, "257.9-1~deb13u1", networkdUnit)
	path := filepath.Join(h.Root, DropInPath)
	if c := change(t, h, true); c.Action != "none" || c.Done {
		t.Errorf("undo of nothing: %+v", c)
	}
	if c := change(t, h, false); c.Action != "write" || !c.Done || c.Next != restart || len(c.Notes) != 0 {
		t.Errorf("first: %+v", c)
	}
	content, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || string(content) != dropIn || info.Mode().Perm() != 0o644 {
		t.Errorf("%q, %v, %v", content, err, statErr)
	}
	if found, err := h.settings(); err != nil || found["ManageForeignRoutes"].value != "no" || found["ManageForeignRoutingPolicyRules"].value != "no" {
		t.Errorf("settings %v, %v", found, err)
	}
	if c := change(t, h, false); c.Action != "none" || c.Done || c.Next != "" {
		t.Errorf("again: %+v", c)
	}
	if c := change(t, h, true); c.Action != "remove" || !c.Done || c.Next != restart {
		t.Errorf("undo: %+v", c)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestFilesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(t *testing.T, path string){
		"edited":    func(t *testing.T, path string) { t.Helper(); writeFile(t, path, dropIn+"SpeedMeter=yes\n") },
		"another's": func(t *testing.T, path string) { t.Helper(); writeFile(t, path, "[Network]\nManageForeignRoutes=no\n") },
		"link": func(t *testing.T, path string) {
			t.Helper()
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink("/dev/null", path)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		h := hostWith(t, nil, "257", networkdUnit)
		path := filepath.Join(h.Root, DropInPath)
		make(t, path)
		before, _ := os.Lstat(path)
		for _, undo := range []bool{false, true} {
			if c, err := h.Plan(t.Context(), undo, true); err == nil || !strings.Contains(err.Error(), "remove it by hand") {
				t.Errorf("%s, undo %t: %+v, %v", name, undo, c, err)
			}
		}
		if after, err := os.Lstat(path); err != nil || after.ModTime() != before.ModTime() {
			t.Errorf("%s: it was touched", name)
		}
	}
}

func TestRisk(t *testing.T) {
	t.Parallel()
	peer := map[string]string{"etc/systemd/network/wan.network": "[Match]\nName=wan0\n[Address]\nAddress=1.1.8.105/32\nPeer=1.1.8.104/32\n"}
	cases := []struct {
		version string
		files   map[string]string
		note    string
		refusal string
	}{
		{"", nil, "", "version of systemd is unknown"},
		{"245.4-4ubuntu3.24", nil, "", "does not know ManageForeignRoutes="},
		{"247.3-7+deb11u6", nil, "policy rules may still go", ""},
		{"249.11-0ubuntu3.12", nil, "", "issue 20201"},
		{"252.39-1~deb12u2", nil, "no .network file here has one", ""},
		{"252.39-1~deb12u2", peer, "", "/etc/systemd/network/wan.network has one"},
		{"255", peer, "", "issue 30403"},
		{"255.4-1ubuntu8.10", peer, "", ""},
		{"257.9-1~deb13u1", peer, "", ""},
	}
	for _, c := range cases {
		h := hostWith(t, c.files, c.version, networkdUnit)
		plan, err := h.Plan(t.Context(), false, false)
		switch {
		case c.refusal != "":
			if err == nil || !strings.Contains(err.Error(), c.refusal) || !strings.Contains(err.Error(), "--accept-risk") {
				t.Errorf("%q: %v, want %q", c.version, err, c.refusal)
			}
		case err != nil || plan.Action != "write":
			t.Errorf("%q: %+v, %v", c.version, plan, err)
		case !strings.Contains(strings.Join(plan.Notes, "\n"), c.note) || c.note == "" && len(plan.Notes) > 0:
			t.Errorf("%q: notes %q, want %q", c.version, plan.Notes, c.note)
		}
		if accepted, err := h.Plan(t.Context(), false, true); err != nil || accepted.Action != "write" {
			t.Errorf("%q with the risk accepted: %+v, %v", c.version, accepted, err)
		}
	}
}

func TestNoNetworkd(t *testing.T) {
	t.Parallel()
	h := hostWith(t, nil, "257")
	if c := change(t, h, false); c.Action != "none" || len(c.Notes) != 1 {
		t.Errorf("%+v", c)
	}
	h.Units = func(context.Context, ...string) ([]systemd.UnitState, error) { return nil, systemd.ErrNotRunning }
	if c := change(t, h, false); c.Action != "none" {
		t.Errorf("without systemd: %+v", c)
	}
}

func TestLaterDropInOverridesOurs(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"usr/lib/systemd/networkd.conf.d/99-vendor.conf": "[Network]\nManageForeignRoutes=yes\n",
		"etc/systemd/networkd.conf.d/10-early.conf":      "[Network]\nManageForeignRoutingPolicyRules=yes\n",
	}
	h := hostWith(t, files, "257", networkdUnit)
	c := change(t, h, false)
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "/usr/lib/systemd/networkd.conf.d/99-vendor.conf says ManageForeignRoutes=yes") {
		t.Errorf("notes %q", c.Notes)
	}
	// A file of the same name in /etc takes the vendor's place.
	writeFile(t, filepath.Join(h.Root, "etc/systemd/networkd.conf.d/99-vendor.conf"), "")
	if c := change(t, h, false); len(c.Notes) != 0 {
		t.Errorf("masked: %q", c.Notes)
	}
}
