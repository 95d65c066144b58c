package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Fault is one thing that goes wrong on demand.
type Fault struct {
	// Command is switch, status, rollback or undeploy.
	Command string `json:"command"`
	// Action is fail (a message and exit code 1), full (the message for a full disk), slow (wait MS) or kill (the program is
	// gone at once, as in a power cut).
	Action string `json:"action"`
	// MS is the wait of slow in milliseconds.
	MS int `json:"ms"`
}

// Settings is the file fakebootc.json in the lab's folder. Everything is optional.
type Settings struct {
	// Images are those of the registry, by reference; nil: any reference is there.
	Images []string `json:"images"`
	// Index makes bootc report another digest than that of the reference, as for an index of several architectures: the
	// manifest's own.
	Index bool `json:"index"`
	// Broken are images whose health checks fail.
	Broken []string `json:"broken"`
	// BindMounts are folders that the image binds below /var.
	BindMounts []string `json:"bindMounts"`
	Faults     []Fault  `json:"faults"`
}

// Load reads the settings; a missing file is no error.
func Load(path string) (Settings, error) {
	var s Settings
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("cannot read the lab's settings: %w", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return s, fmt.Errorf("cannot read the lab's settings in %s: %w", path, err)
	}
	for _, f := range s.Faults {
		if !slices.Contains([]string{"fail", "full", "slow", "kill"}, f.Action) {
			return s, fmt.Errorf("cannot use fault action %q: allowed are fail, full, slow, kill", f.Action)
		}
	}
	return s, nil
}
