package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hybridagent/test/fakenodeadm/lab"
)

func TestGuardRefusesOutsideALab(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := lab.Guard(dir); err == nil || !strings.Contains(err.Error(), "refuses to run outside a lab") {
		t.Errorf("without a marker: %v, want a refusal", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "marker"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := lab.Guard(dir); err != nil {
		t.Errorf("with a marker: %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	for _, c := range []struct {
		name, file, env, err string
		want                 func(lab.Settings) bool
	}{
		{name: "none", want: func(s lab.Settings) bool { return !s.Direct && s.Scale(time.Second) == time.Second }},
		{name: "file", file: `{"direct":true,"timeScale":0.5}`, want: func(s lab.Settings) bool { return s.Direct && s.Scale(time.Second) == time.Second/2 }},
		{name: "environment over file", file: `{"timeScale":0.5}`, env: `{"timeScale":0.1,"kubelet":{"ignoreNodeIP":true}}`,
			want: func(s lab.Settings) bool { return s.TimeScale == 0.1 && s.Kubelet.IgnoreNodeIP }},
		{name: "unknown key", file: `{"spped":1}`, err: "unknown field"},
		{name: "unknown action", file: `{"faults":[{"phase":"start","action":"explode"}]}`, err: `fault action "explode"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if c.file != "" {
				if err := os.WriteFile(filepath.Join(dir, "fakenodeadm.json"), []byte(c.file), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			getenv := none
			if c.env != "" {
				getenv = func(name string) string { return map[string]string{"FAKENODEADM_LAB": c.env}[name] }
			}
			s, err := lab.Load(dir, getenv)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || !c.want(s) {
				t.Errorf("settings %+v, error %v", s, err)
			}
		})
	}
}
