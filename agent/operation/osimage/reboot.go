package osimage

import (
	"context"
	"errors"
	"fmt"

	"hybridagent/agent/operation/engine"
)

// FallbackError says that another image came up than the one that was staged.
type FallbackError struct {
	// Wanted was staged, Booted came up.
	Wanted Ref
	Booted Image
	// Why it did, as far as known.
	Why string
}

// Error says which image runs and what to do.
func (f *FallbackError) Error() string {
	return fmt.Sprintf("booted fallback image %s instead of %s: %s; look at what the failed boot wrote (journalctl -b -1, the console), repair the image and repave again", f.Booted, f.Wanted, f.Why)
}

// reboot asks for reboots until the wanted image is booted or has had its chance.
// It is begun again after each.
func (j *job) reboot(ctx context.Context, run engine.Run) error {
	status, kept, boot, err := j.look(ctx, run)
	if err != nil {
		return err
	}
	if status.Booted.Is(j.Image) {
		return nil
	}
	if kept.Boot != "" && kept.Boot != boot {
		if gaveUp(status, kept, j.Image) != "" || kept.Tries >= maxTries {
			// verify-image tells.
			return nil
		}
		run.Say("the host booted " + status.Booted.String() + " again: what was staged was lost, as by a power cut")
	}
	tools := j.tools(run)
	if !status.Next.Is(j.Image) {
		if err := j.fetch(ctx, run, tools); err != nil {
			return err
		}
	}
	if err := j.Driver.Arm(ctx, tools); err != nil {
		return err
	}
	if err := j.edit(func(c *change) {
		if c.Boot != boot {
			c.Boot = boot
			c.Tries++
		}
	}); err != nil {
		return err
	}
	run.Say("rebooting into " + j.Image.String())
	if err := j.Reboot(ctx); err != nil {
		if ctx.Err() != nil {
			// It may have been heard all the same.
			return fmt.Errorf("cannot reboot: %w", err)
		}
		// No reboot is pending.
		return errors.Join(fmt.Errorf("cannot reboot: %w", err), j.edit(func(c *change) { c.Boot, c.Tries = kept.Boot, kept.Tries }))
	}
	return j.goneDown(ctx)
}

// look is what there is and what was noted.
func (j *job) look(ctx context.Context, run engine.Run) (Status, change, string, error) {
	boot, err := j.BootID()
	if err != nil {
		return Status{}, change{}, "", err
	}
	kept, err := j.change()
	if err != nil {
		return Status{}, change{}, "", err
	}
	status, err := j.Driver.Look(ctx, j.tools(run))
	return status, kept, boot, err
}

// leave asks for the reboot and waits for the end of this process.
func (j *job) leave(ctx context.Context) error {
	if err := j.Reboot(ctx); err != nil {
		return fmt.Errorf("cannot reboot: %w", err)
	}
	return j.goneDown(ctx)
}

// goneDown waits for the end of this process.
func (j *job) goneDown(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("the host did not go down after it was asked to reboot; look at systemctl list-jobs: %w", ctx.Err())
}

// gaveUp says why the wanted image is not booted although it was tried; empty:
// nothing shows that it was.
func gaveUp(status Status, kept change, wanted Ref) string {
	if status.Slot == slotRecovery {
		return "the boot loader chose the recovery system, from which no node can run: neither image came up"
	}
	if status.GaveUp != "" {
		return status.GaveUp
	}
	if kept.Known {
		return ""
	}
	for _, image := range status.Others {
		if image.Is(wanted) {
			return "the host went back to it: the image came up but was rolled back, as greenboot does after failed health checks"
		}
	}
	return ""
}

// verify accepts the wanted image only.
func (j *job) verify(ctx context.Context, run engine.Run) error {
	status, kept, boot, err := j.look(ctx, run)
	if err != nil {
		return err
	}
	if !status.Booted.Is(j.Image) {
		why := gaveUp(status, kept, j.Image)
		if why == "" {
			why = fmt.Sprintf("it came up %d times in a row, and nothing tells why", max(kept.Tries, 1))
		}
		return &engine.Permanent{Err: &FallbackError{Wanted: j.Image, Booted: status.Booted, Why: why}}
	}
	booted := status.Booted
	booted.Name, booted.Digest = j.Image.URI, j.Image.Digest
	return changeRecord(j.Dir, func(kept *record) { kept.Booted, kept.BootedIn = booted, boot })
}

// revert boots the former image again, where the wanted one came up but the node
// did not. A reboot that was asked for and has not come yet is waited for: only then
// it is certain which image comes up.
func (j *job) revert(ctx context.Context, run engine.Run) error {
	status, kept, boot, err := j.look(ctx, run)
	if err != nil {
		return err
	}
	if !status.Booted.Is(j.Image) {
		return j.revertPending(ctx, run, status, kept.Boot == boot)
	}
	if kept.From.ID == "" || kept.From.Is(j.Image) {
		return nil
	}
	if kept.Back != "" && kept.Back != boot {
		return &engine.Permanent{Err: fmt.Errorf("cannot boot the former image %s: %s came up again; boot the other entry of the boot menu by hand", kept.From, status.Booted)}
	}
	tools := j.tools(run)
	if err := j.Driver.Revert(ctx, tools, kept.From); err != nil {
		return err
	}
	if err := j.edit(func(c *change) { c.Back = boot }); err != nil {
		return err
	}
	run.Say("rebooting into the former image " + kept.From.String())
	return j.leave(ctx)
}

// revertPending keeps the wanted image from coming up with the next reboot. Where
// that one is on its way already it may be too late for that: the next revert, after
// it, sees what came up.
func (j *job) revertPending(ctx context.Context, run engine.Run, status Status, asked bool) error {
	var err error
	if status.Next.Is(j.Image) {
		err = j.unstage(ctx, run)
	}
	if !asked {
		return err
	}
	if err != nil {
		run.Say("the staged image may still come up: " + err.Error())
	}
	run.Say("waiting for the reboot that was asked for before")
	// Once more: power may have failed, or this program ended, before it was heard.
	if err := j.Reboot(ctx); err != nil {
		run.Say("asked to reboot again: " + err.Error())
	}
	return j.goneDown(ctx)
}
