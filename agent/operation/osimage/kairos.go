package osimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where Kairos keeps its images: the state partition, mounted read-only while the
// host runs from it (kairos-agent pkg/constants: RunningStateDir, ActiveImgFile,
// PassiveImgFile).
const (
	kairosState   = "run/initramfs/cos-state"
	kairosActive  = kairosState + "/cOS/active.img"
	kairosPassive = kairosState + "/cOS/passive.img"
	// kairosTransition is what kairos-agent builds an image in.
	kairosTransition = kairosState + "/cOS/transition.img"
	// kairosEnv is GRUB's environment of the boot assessment
	// (kairos packages, 08_grub.yaml).
	kairosEnv = kairosState + "/boot_assessment"
)

// Slots in Kairos' words (kairos-sdk state/state.go, getNonUKIBootState).
const (
	slotActive   = "active"
	slotPassive  = "passive"
	slotRecovery = "recovery"
)

// Kairos drives kairos-agent. Images lie in two files: active.img is booted, and
// passive.img is what GRUB falls back on. kairos-agent upgrade builds
// transition.img, moves active to passive, unless the host runs from passive, and
// transition to active (kairos-agent pkg/action/upgrade.go). Neither file says
// which image it was made from; the filesystem in it has a UUID of its own, by
// which this driver knows what it staged.
type Kairos struct {
	root, dir string
	agent     string
}

// Name is kairos.
func (k *Kairos) Name() string { return "kairos" }

// slot is what the kernel's command line says was booted.
func slot(cmdline string) string {
	switch {
	case strings.Contains(cmdline, "COS_ACTIVE"):
		return slotActive
	case strings.Contains(cmdline, "COS_PASSIVE"):
		return slotPassive
	case strings.Contains(cmdline, "COS_RECOVERY"), strings.Contains(cmdline, "COS_SYSTEM"), strings.Contains(cmdline, "recovery-mode"):
		return slotRecovery
	}
	return ""
}

// Look reads files only; kairos-agent state says no more.
func (k *Kairos) Look(context.Context, Tools) (Status, error) {
	text, err := os.ReadFile(filepath.Join(k.root, "proc/cmdline"))
	if err != nil {
		return Status{}, fmt.Errorf("cannot tell what this host has booted: %w", err)
	}
	kept, err := readRecord(k.dir)
	if err != nil {
		return Status{}, err
	}
	status := Status{Slot: slot(string(text))}
	if status.Slot == "" {
		return status, errors.New("cannot tell what this host has booted: its kernel command line names no slot of Kairos; boot the installed system, not the installer")
	}
	ids := k.ids()
	status.Booted = k.named(kept, ids, ids.booted(status.Slot))
	status.Next = k.named(kept, ids, ids.active)
	status.Others = []Image{k.named(kept, ids, ids.passive)}
	if status.Booted.ID == "" {
		return status, fmt.Errorf("cannot tell which image this host has booted: neither its root file system nor %s can be read", filepath.Join(k.root, kairosActive))
	}
	if strings.Contains(string(text), "upgrade_failure") {
		status.GaveUp = "GRUB's boot assessment chose the fallback entry: the image did not come up"
	} else if status.Slot == slotPassive && status.Next.ID != "" && !status.Next.Same(status.Booted) {
		status.GaveUp = "the host runs from the passive image"
	}
	if !kept.stagedWhole() && status.Next.Is(kept.Staging.Ref) && !status.Next.Same(status.Booted) {
		// The tool was cut off before its end: its hooks may not have armed the
		// boot assessment.
		status.Next.Digest, status.Next.Name = "", "an image that was staged by half"
	}
	return status, nil
}

// kairosIDs are the UUIDs of the images' file systems; empty: there is none.
type kairosIDs struct{ root, active, passive string }

func (k *Kairos) ids() kairosIDs {
	return kairosIDs{
		root:    extUUID(rootDevice(k.root)),
		active:  extUUID(filepath.Join(k.root, kairosActive)),
		passive: extUUID(filepath.Join(k.root, kairosPassive)),
	}
}

// booted is the image that runs: what is mounted as the root, and only where that
// cannot be read what lies in the slot, which an upgrade exchanges under the
// running system.
func (i kairosIDs) booted(slot string) string {
	switch {
	case i.root != "":
		return i.root
	case slot == slotPassive:
		return i.passive
	case slot == slotActive:
		return i.active
	}
	return ""
}

// named gives an image the name under which it was staged.
func (k *Kairos) named(kept record, ids kairosIDs, id string) Image {
	image := Image{ID: id}
	if id == "" {
		return image
	}
	ref, known := kept.Images[id]
	if before := kept.Staging.Before; !known && before != "" && before != id && id == ids.active && ids.passive == before {
		// Staged, but a power cut kept that from being noted.
		ref, known = kept.Staging.Ref, true
	}
	if known {
		image.Name, image.Digest = ref.URI, ref.Digest
		return image
	}
	if id == ids.booted("") || ids.root == "" {
		image.Name = prettyName(k.root)
	}
	return image
}

// Stage runs kairos-agent upgrade with the image by digest.
func (k *Kairos) Stage(ctx context.Context, tools Tools, ref Ref) error {
	status, err := k.Look(ctx, tools)
	if err != nil {
		return err
	}
	ids := k.ids()
	if !tools.attached(ctx) {
		if err := k.mend(ctx, tools, status.Slot); err != nil {
			return err
		}
		ids = k.ids()
		if status.Slot == slotActive && ids.active != ids.root && ids.passive == ids.root && ids.root != "" {
			// A second upgrade from here would move the unproven image onto the one
			// that runs, and leave nothing to fall back on.
			if err := k.restore(ctx, tools, "-restore"); err != nil {
				return err
			}
		}
		before := k.ids().active
		if err := changeRecord(k.dir, func(kept *record) { kept.Staging = staging{Ref: ref, Before: before} }); err != nil {
			return err
		}
	}
	if _, err := tools.run(ctx, "", k.agent, "upgrade", "--source", "oci:"+ref.Pinned()); err != nil {
		return err
	}
	after := k.ids()
	if after.active == "" {
		return fmt.Errorf("kairos-agent upgrade ended well, but %s cannot be read", filepath.Join(k.root, kairosActive))
	}
	return changeRecord(k.dir, func(kept *record) {
		for id := range kept.Images {
			if id != after.active && id != after.passive && id != after.root {
				delete(kept.Images, id)
			}
		}
		kept.Images[after.active] = ref
		kept.Staging.Whole = true
	})
}

// Unstage puts the image that runs back into the active slot.
func (k *Kairos) Unstage(ctx context.Context, tools Tools) error {
	text, err := os.ReadFile(filepath.Join(k.root, "proc/cmdline"))
	if err != nil {
		return fmt.Errorf("cannot tell what this host has booted: %w", err)
	}
	if err := k.mend(ctx, tools, slot(string(text))); err != nil {
		return err
	}
	if ids := k.ids(); ids.active == ids.booted("") {
		return nil
	}
	return k.restore(ctx, tools, "")
}

// Revert makes active what is passive. The image that runs becomes the passive one.
func (k *Kairos) Revert(ctx context.Context, tools Tools, former Image) error {
	ids := k.ids()
	if ids.active == former.ID {
		return nil
	}
	if ids.passive != former.ID {
		return fmt.Errorf("cannot return to %s: it is on this host no more; repave it with that image", former)
	}
	return k.restore(ctx, tools, "")
}

// Room is the state partition: another image is built beside both that are there,
// and is taken to become as large as the active one.
func (k *Kairos) Room() (string, uint64, error) {
	// kairos-agent's own size where it cannot tell (pkg/constants, ImgSize).
	const usual = 3072 << 20
	info, err := os.Stat(filepath.Join(k.root, kairosActive))
	if errors.Is(err, fs.ErrNotExist) {
		return filepath.Join(k.root, kairosState), usual, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("cannot tell how large an image is: %w", err)
	}
	return filepath.Join(k.root, kairosState), uint64(info.Size()), nil
}

// Mounting names the lines for user-data (kairos, "install.bind_mounts").
func (k *Kairos) Mounting(paths []string) string {
	var out strings.Builder
	out.WriteString("add to user-data: install: {bind_mounts: [")
	out.WriteString(strings.Join(paths, ", "))
	out.WriteString("]}; on an installed host write them to CUSTOM_BIND_MOUNTS in /oem/10_user_custom_mounts.yaml and reboot")
	return out.String()
}
