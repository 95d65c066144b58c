package actors

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Users of an edge host; the numbers are far from those that distributions give out.
const (
	AgentUID  = 64321
	StatusGID = 64322
)

// Binaries are the paths of the programs that a site runs.
type Binaries struct {
	Agent, Op, Plane, Ctl string
	// Stand-ins, never shipped.
	Nodeadm, AWS string
}

// FindBinaries finds the programs that make builds below the repository.
func FindBinaries(repository string) (Binaries, error) {
	bin := func(name string) string { return filepath.Join(repository, "build/bin", name) }
	lab := func(name string) string { return filepath.Join(repository, "build/lab", name) }
	b := Binaries{
		Agent: bin("hybrid-agent"), Op: bin("hybrid-agent-op"), Plane: bin("hybrid-plane"), Ctl: bin("hybridctl"),
		Nodeadm: lab("fakenodeadm"), AWS: lab("fakeaws"),
	}
	var errs []error
	for _, path := range []string{b.Agent, b.Op, b.Plane, b.Ctl, b.Nodeadm, b.AWS} {
		if _, err := os.Stat(path); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return b, fmt.Errorf("cannot find the programs, run make build-lab: %w", err)
	}
	return b, nil
}
