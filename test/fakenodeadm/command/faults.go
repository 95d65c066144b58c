package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hybridagent/test/fakenodeadm/lab"
)

// phase is a place where the lab may ask for a fault.
func (r *run) phase(ctx context.Context, name string) error {
	if r.dying {
		return r.die()
	}
	for _, f := range r.Settings.Faults {
		if f.Phase != name || !r.meant(f) || f.Once && !r.first(f) {
			continue
		}
		if err := r.fault(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) meant(f lab.Fault) bool {
	return (f.Command == "" || f.Command == r.command) && (f.Version == "" || r.version != "" && lab.SameVersion(f.Version, r.version))
}

// first notes that the fault happens now; false means that it already did.
func (r *run) first(f lab.Fault) bool {
	path := r.path(filepath.Join(DirectDir, fmt.Sprintf("once-%s-%s-%s", f.Command, f.Phase, f.Action)))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false
	}
	mark, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return false
	}
	mark.Close()
	return true
}

func (r *run) fault(ctx context.Context, f lab.Fault) error {
	switch f.Action {
	case "noop":
		return errDone
	case "slow":
		select {
		case <-time.After(time.Duration(f.MS) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	case "kill":
		r.dying = true
	case "fail":
		if f.Message == "" {
			return fmt.Errorf("fault asked for by the lab in phase %s of %s", f.Phase, r.command)
		}
		return errors.New(f.Message)
	}
	return nil
}

// die ends the program where it is.
func (r *run) die() error {
	if r.Kill != nil {
		r.Kill()
	}
	return errKill
}

// cutOff is what a dying run leaves of the file that it was writing.
const cutOff = 40

// write is put, or the end of a dying run in the middle of it.
func (r *run) write(p, content string, mode, dirMode os.FileMode) error {
	if !r.dying {
		return r.put(p, content, mode, dirMode)
	}
	if err := r.put(p, content[:min(cutOff, len(content)/2)], mode, dirMode); err != nil {
		return err
	}
	return r.die()
}

// removeAll removes the path with everything below it; a dying run ends there.
func (r *run) removeAll(p string) error {
	if err := os.RemoveAll(r.path(p)); err != nil || !r.dying {
		return err
	}
	return r.die()
}
