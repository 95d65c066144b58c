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

// restore has kairos-agent copy passive.img and make the copy active: it takes an
// image file as a source (kairos-agent pkg/elemental/elemental.go, DumpSource), and
// the last thing it does is one rename, so a power cut leaves either image active
// and none lost.
func (k *Kairos) restore(ctx context.Context, tools Tools, suffix string) error {
	if err := changeRecord(k.dir, func(kept *record) { kept.Staging = staging{} }); err != nil {
		return err
	}
	_, err := tools.run(ctx, suffix, k.agent, "upgrade", "--source", "file:"+filepath.Join(k.root, kairosPassive))
	if err != nil {
		return fmt.Errorf("cannot make the passive image the active one: %w", err)
	}
	return k.Arm(ctx, tools)
}

// mend gives a host an active image again whose kairos-agent was killed between
// its two renames: what runs is passive then, and kairos-agent fails for want of
// an active one (kairos-agent pkg/action/upgrade.go: Rename of active.img). The
// copy has its label before its name, so that a power cut leaves what GRUB can
// boot. A host that was rebooted instead runs from passive, and nothing is wrong.
func (k *Kairos) mend(ctx context.Context, tools Tools, slot string) error {
	ids := k.ids()
	if slot != slotActive || ids.active != "" || ids.passive == "" {
		return nil
	}
	path := func(name string) string { return filepath.Join(k.root, name) }
	return k.writable(ctx, tools, [][]string{
		{"cp", "--sparse=always", path(kairosPassive), path(kairosTransition)},
		{"tune2fs", "-L", "COS_ACTIVE", path(kairosTransition)},
		{"sync", path(kairosTransition)},
		{"mv", path(kairosTransition), path(kairosActive)},
	})
}

// writable runs programs while the state partition is mounted writable, one after
// the other until one fails.
func (k *Kairos) writable(ctx context.Context, tools Tools, commands [][]string) error {
	state := filepath.Join(k.root, kairosState)
	commands = append([][]string{{"mount", "-o", "remount,rw", state}}, commands...)
	var failure error
	for i, command := range append(commands, []string{"mount", "-o", "remount,ro", state}) {
		if failure != nil && i < len(commands) {
			continue
		}
		path := program(k.root, command[0])
		if path == "" {
			failure = errors.Join(failure, fmt.Errorf("cannot run %s: it is missing in the image", command[0]))
			continue
		}
		_, err := tools.run(ctx, fmt.Sprintf("-w%d", i), path, command[1:]...)
		failure = errors.Join(failure, err)
	}
	return failure
}

// Arm clears what a failed boot has left in GRUB's environment: kairos-agent does
// not before 4.2, and GRUB would pass over the new image without a try (kairos-io/kairos
// issue 4303, fixed by pull request 4459). Kairos itself edits the file so
// (08_grub.yaml, "Remove GRUB sentinels").
func (k *Kairos) Arm(ctx context.Context, tools Tools) error {
	content, err := os.ReadFile(filepath.Join(k.root, kairosEnv))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read GRUB's environment: %w", err)
	}
	if !strings.Contains(string(content), "boot_assessment_tentative=yes") {
		return nil
	}
	return k.writable(ctx, tools, [][]string{{"grub2-editenv", filepath.Join(k.root, kairosEnv), "set", "boot_assessment_tentative="}})
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
