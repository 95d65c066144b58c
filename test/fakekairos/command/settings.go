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
	// Phase is resolve, deploy, rename (between the two renames) or hook (after them).
	Phase string `json:"phase"`
	// Action is fail (a message and exit code 1), full (no space left), slow (wait MS) or kill (the program is gone at once,
	// as in a power cut).
	Action string `json:"action"`
	// MS is the wait of slow in milliseconds.
	MS int `json:"ms"`
}

// Settings is the file fakekairos.json in the lab's folder. Everything is optional.
type Settings struct {
	// Images are those of the registry, by reference as --source names them without "oci:"; nil: any reference is there.
	Images []string `json:"images"`
	// Broken are images that never come up.
	Broken []string `json:"broken"`
	// BindMounts are install.bind_mounts of the user-data.
	BindMounts []string `json:"bindMounts"`
	// KeepsTentative leaves GRUB's sentinel of a failed boot over an upgrade, as Kairos before pull request 4459 does (issue
	// kairos-io/kairos 4303).
	KeepsTentative bool    `json:"keepsTentative"`
	Faults         []Fault `json:"faults"`
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
