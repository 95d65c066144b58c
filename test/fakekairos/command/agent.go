package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Host is a host of Kairos in a folder.
type Host struct {
	// Root is the host's root.
	Root string
	Settings
	// Stdout takes what programs print, both streams alike.
	Stdout io.Writer
}

func (h *Host) say(format string, args ...any) {
	fmt.Fprintf(h.Stdout, "(stand-in) "+format+"\n", args...)
}

// errGone ends a program as a power cut does: without a word.
var errGone = errors.New("gone")

// fault does what is to go wrong in a phase.
func (h *Host) fault(phase string) error {
	for _, f := range h.Faults {
		if f.Phase != phase {
			continue
		}
		switch f.Action {
		case "slow":
			time.Sleep(time.Duration(f.MS) * time.Millisecond)
		case "full":
			return fmt.Errorf("write %s: no space left on device", h.path(transition))
		case "kill":
			return errGone
		default:
			return fmt.Errorf("fault at %s", phase)
		}
	}
	return nil
}

// Agent is kairos-agent; only upgrade of the active image is played.
func (h *Host) Agent(args []string) int {
	if len(args) != 3 || args[0] != "upgrade" || args[1] != "--source" {
		h.say("this stand-in plays no kairos-agent %s", strings.Join(args, " "))
		return 1
	}
	err := h.upgrade(args[2])
	if errors.Is(err, errGone) {
		return 137
	}
	if err != nil {
		// kairos-agent prints a list of errors and exits with 1 (main.go: cli's Run, os.Exit(1)).
		h.say("1 error occurred:\n\t* %v\n", err)
		return 1
	}
	return 0
}

// upgrade is kairos-agent pkg/action/upgrade.go, UpgradeAction.Run.
func (h *Host) upgrade(source string) error {
	kind, address, found := strings.Cut(source, ":")
	if !found || !slices.Contains([]string{"oci", "file", "dir", "ocifile"}, kind) {
		// main.go, validateSource.
		return fmt.Errorf("invalid source %s", source)
	}
	if err := h.deploy(kind, address); err != nil {
		// "Cleanup transition image file before leaving".
		if !errors.Is(err, errGone) {
			_ = os.Remove(h.path(transition))
		}
		return err
	}
	if h.bootedSlot() != "passive" {
		// "Booted from active: backup active into passive. Booted from passive: leave passive as is".
		h.say("Moving %s to %s", active, passive)
		if err := os.Rename(h.path(active), h.path(passive)); err != nil {
			return err
		}
		if err := h.relabel(passive, "COS_PASSIVE"); err != nil {
			return err
		}
	}
	if err := h.fault("rename"); err != nil {
		return err
	}
	h.say("Moving %s to %s", transition, active)
	if err := os.Rename(h.path(transition), h.path(active)); err != nil {
		return err
	}
	if err := h.fault("hook"); err != nil {
		return err
	}
	if err := h.afterUpgrade(); err != nil {
		return err
	}
	h.say("Upgrade completed")
	return nil
}

// deploy fills transition.img: from a registry (DumpSource, IsDocker) into a new file system, or from a file by copying it and
// setting the label, which keeps the UUID (deployImage, IsFile).
func (h *Host) deploy(kind, address string) error {
	if err := h.fault("resolve"); err != nil {
		return err
	}
	if kind == "oci" && h.Images != nil && !slices.Contains(h.Images, address) {
		return fmt.Errorf("GET https://%s: MANIFEST_UNKNOWN: manifest unknown", address)
	}
	h.say("deploying image %s to %s", address, h.path(transition))
	if kind == "oci" {
		if err := h.makeImage(transition, "COS_ACTIVE", address); err != nil {
			return err
		}
		return h.fault("deploy")
	}
	content, err := os.ReadFile(address)
	if err != nil {
		return err
	}
	if err := h.write(transition, content); err != nil {
		return err
	}
	if err := h.fault("deploy"); err != nil {
		return err
	}
	return h.relabel(transition, "COS_ACTIVE")
}

// afterUpgrade is the stage after-upgrade of 08_grub.yaml: it arms the boot assessment. Since pull request 4459 it clears the
// sentinel of a former failure as well.
func (h *Host) afterUpgrade() error {
	set := map[string]string{"enable_boot_assessment": "yes"}
	if !h.KeepsTentative {
		set["boot_assessment_tentative"] = ""
	}
	return h.setEnv(set)
}
