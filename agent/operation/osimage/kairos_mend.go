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
