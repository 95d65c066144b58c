// Package lab holds what ties the stand-ins to the lab: the guard that refuses to run anywhere else, and the settings file
// through which a test or the demo asks for faults and speed. It owns no behaviour of nodeadm or kubelet.
package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// Dir is where the lab marks a host as its own; on a lab host /run is a tmpfs of that host alone.
	Dir = "/run/hybrid-lab"
	// ExitNotALab is the exit code of every stand-in outside a lab.
	ExitNotALab = 3
	// VersionTrailer precedes the version appended to a kubelet artifact; kubelet --version reads it back from its own file.
	VersionTrailer = "\nstandin-kubelet-version:"
)

// Guard returns an error unless dir (Dir, but for tests of the guard itself) holds the lab's marker.
func Guard(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "marker")); err != nil {
		return fmt.Errorf("this is a stand-in for tests and refuses to run outside a lab: %s does not exist; "+
			"install the real program here, or create that file on a throw-away host", filepath.Join(dir, "marker"))
	}
	return nil
}

// Fault is one thing that goes wrong on demand.
type Fault struct {
	// Command is install, config, init, upgrade or uninstall; empty means all of them.
	Command string `json:"command"`
	// Phase is where in the command; "start" is before anything.
	Phase string `json:"phase"`
	// Action is fail (fatal message, exit 1), hang (for ever), slow (wait MS), noop (exit 0 at once) or kill (SIGKILL in the middle
	// of the phase: the first file that it writes is cut off, the first that it removes is gone; at its end where it does neither).
	Action string `json:"action"`
	// Version limits the fault to runs for this Kubernetes version, "1.31" or "1.31.5", as install and upgrade name it.
	Version string `json:"version"`
	// Once makes the fault happen a single time on this host; /run/fakenodeadm remembers it.
	Once bool `json:"once"`
	// Message is the error text of fail; empty means a text that names the phase.
	Message string `json:"message"`
	// MS is the wait of slow in milliseconds; it is not scaled.
	MS int `json:"ms"`
}

// Kubelet are the faults of the kubelet stand-in.
type Kubelet struct {
	// Version limits ExitAfterSeconds and NotReady to kubelets of this version, "1.31" or "1.31.5"; empty means all: a new kubelet
	// can be broken while the old one works.
	Version string `json:"version"`
	// ExitAfterSeconds ends the kubelet with exit code 1 after that time; 0 means never.
	ExitAfterSeconds float64 `json:"exitAfterSeconds"`
	// NotReady makes it report the condition Ready False.
	NotReady bool `json:"notReady"`
	// NoServingCSR makes it ask for no serving certificate.
	NoServingCSR bool `json:"noServingCSR"`
	// IgnoreNodeIP makes it use the address of the default route's interface whatever --node-ip says.
	IgnoreNodeIP bool `json:"ignoreNodeIP"`
	// HeartbeatFrom binds heartbeats to this address of the host instead of the node IP.
	HeartbeatFrom string `json:"heartbeatFrom"`
	// HeartbeatIntervalMS is the time between heartbeats in milliseconds; 0 means 1000.
	HeartbeatIntervalMS int `json:"heartbeatIntervalMs"`
	// Real is a real kubelet that runs in place of the stand-in, with a configuration that a lab's host can bear; "{version}" in the
	// path stands for the version that was installed, without "v".
	Real string `json:"real"`
	// Config is merged over the real kubelet's configuration: KubeletConfiguration fields.
	Config map[string]any `json:"config"`
	// Containerd is a real containerd that runs in place of the stand-in, with nodeadm's configuration but cgroupfs; its shim and
	// runc are looked for in its own folder first.
	Containerd string `json:"containerd"`
	// SandboxImage replaces the pause image in the real containerd's configuration, which no registry of the lab serves.
	SandboxImage string `json:"sandboxImage"`
	// ClientCertificate and ClientKey are PEM files that the authenticator stand-in hands out in place of a token, for a real API
	// server; the certificate's CN must be system:node:NAME and its O system:nodes.
	ClientCertificate string `json:"clientCertificate"`
	ClientKey         string `json:"clientKey"`
}

// Settings is the file fakenodeadm.json in the lab's folder. Everything is optional.
type Settings struct {
	// Direct starts kubelet as a detached child where there is no systemd, and counts containerd as present.
	Direct bool `json:"direct"`
	// TimeScale multiplies nodeadm's own waits and its --timeout; 0 means 1, as the real program.
	TimeScale float64 `json:"timeScale"`
	Faults    []Fault `json:"faults"`
	Kubelet   Kubelet `json:"kubelet"`
}

// Load reads dir/fakenodeadm.json and merges the environment over it: FAKENODEADM_LAB (the same JSON), FAKENODEADM_DIRECT=1 and
// FAKENODEADM_TIME_SCALE. A missing file is no error.
func Load(dir string, getenv func(string) string) (Settings, error) {
	var s Settings
	path := filepath.Join(dir, "fakenodeadm.json")
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return s, fmt.Errorf("cannot read the lab's settings: %w", err)
	}
	for _, text := range []struct{ name, json string }{{path, string(raw)}, {"FAKENODEADM_LAB", getenv("FAKENODEADM_LAB")}} {
		if text.json == "" {
			continue
		}
		dec := json.NewDecoder(strings.NewReader(text.json))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s); err != nil {
			return s, fmt.Errorf("cannot read the lab's settings in %s: %w", text.name, err)
		}
	}
	if getenv("FAKENODEADM_DIRECT") == "1" {
		s.Direct = true
	}
	if v := getenv("FAKENODEADM_TIME_SCALE"); v != "" {
		if s.TimeScale, err = strconv.ParseFloat(v, 64); err != nil {
			return s, fmt.Errorf("cannot read FAKENODEADM_TIME_SCALE=%q: %w", v, err)
		}
	}
	return s, s.check()
}

func (s Settings) check() error {
	if s.TimeScale < 0 {
		return fmt.Errorf("cannot use timeScale %v: it must not be negative", s.TimeScale)
	}
	for _, f := range s.Faults {
		switch f.Action {
		case "fail", "hang", "slow", "noop", "kill":
		default:
			return fmt.Errorf("cannot use fault action %q: allowed are fail, hang, slow, noop, kill", f.Action)
		}
	}
	return nil
}

// ForVersion are the settings of a kubelet of this version.
func (k Kubelet) ForVersion(version string) Kubelet {
	if k.Version != "" && !SameVersion(k.Version, version) {
		k.ExitAfterSeconds, k.NotReady = 0, false
	}
	return k
}

// SameVersion tells whether one of two Kubernetes versions, with or without "v" and patch, is the other or its minor version.
func SameVersion(a, b string) bool {
	a, b = strings.TrimPrefix(a, "v"), strings.TrimPrefix(b, "v")
	return a == b || strings.HasPrefix(b, a+".") || strings.HasPrefix(a, b+".")
}

// Scale returns d in lab time.
func (s Settings) Scale(d time.Duration) time.Duration {
	if s.TimeScale == 0 {
		return d
	}
	return time.Duration(float64(d) * s.TimeScale)
}
