package osimage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hybridagent/agent/operation/engine"
)

// maxTries is how often a boot of the wanted image is asked for where nothing says
// that the boot loader gave it up: a power cut may lose what was staged.
const maxTries = 2

// Steps are, in this order: os-preflight and stage-image, which leave the node
// alone and belong before it is cordoned; reboot and verify-image, which belong
// after it was drained. Each may be begun again after a power cut at any point.
// Undo of reboot boots the former image again, that of stage-image makes what is
// booted the next to boot. Where the boot loader chose another image, verify-image
// fails with a *FallbackError; what is to be joined again is then that image's.
func Steps(opt Options) []engine.Step {
	j := &job{opt.withDefaults()}
	return []engine.Step{
		{Name: "os-preflight", What: "check the host's image, its disk and its mounts", Deadline: lookDeadline, Do: j.preflight},
		{Name: "stage-image", What: "fetch image " + j.Image.String() + " with " + j.Driver.Name(), Expected: stageExpected, Deadline: stageDeadline, Attempts: 3,
			Do: j.stage, Undo: j.unstage, UndoDeadline: stageDeadline, UndoAttempts: 2},
		{Name: "reboot", What: "boot it", Expected: rebootExpected, Deadline: rebootDeadline,
			Do: j.reboot, Undo: j.revert, UndoDeadline: rebootDeadline, UndoAttempts: 1},
		{Name: "verify-image", What: "check which image came up", Deadline: lookDeadline, Attempts: 3, Do: j.verify},
	}
}

// preflight refuses what cannot end well, all at once.
func (j *job) preflight(ctx context.Context, run engine.Run) error {
	var problems []error
	if !strings.HasPrefix(j.Image.Digest, "sha256:") {
		problems = append(problems, fmt.Errorf("the operation names no digest for image %s, and a tag may be moved: sign it again", j.Image.URI))
	}
	status, err := j.Driver.Look(ctx, j.tools(run))
	switch {
	case err != nil:
		problems = append(problems, err)
	case status.Slot == slotRecovery:
		problems = append(problems, errors.New("this host runs its recovery system; boot the installed one"))
	case !status.Booted.Is(j.Image) && !status.Next.Is(j.Image):
		problems = append(problems, j.room())
	}
	problems = append(problems, j.mounts())
	if err := errors.Join(problems...); err != nil {
		return &engine.Permanent{Err: fmt.Errorf("cannot change the image: %w", err)}
	}
	run.Say("booted is " + status.Booted.String())
	return nil
}

// room compares what is free with what another image takes.
func (j *job) room() error {
	path, need, err := j.Driver.Room()
	if err != nil {
		return err
	}
	if j.Need > 0 {
		need = j.Need
	}
	free, err := j.FreeBytes(path)
	if err != nil {
		return err
	}
	if free < need {
		return fmt.Errorf("the image needs about %d bytes below %s, where %d are free; remove what is not needed there, or enlarge the partition", need, path, free)
	}
	return nil
}

// mounts names the folders that another image would not have.
func (j *job) mounts() error {
	lost, err := missing(j.Root, j.Paths)
	if err != nil || len(lost) == 0 {
		return err
	}
	return fmt.Errorf("%s would be lost with the image: they are not on a disk that outlives it; %s", strings.Join(lost, ", "), j.Driver.Mounting(lost))
}

// stage has the tool fetch the image, unless that was done.
func (j *job) stage(ctx context.Context, run engine.Run) error {
	tools := j.tools(run)
	if !tools.attached(ctx) {
		status, err := j.Driver.Look(ctx, tools)
		if err != nil {
			return err
		}
		if err := j.begin(status); err != nil {
			return err
		}
		if status.Booted.Is(j.Image) || status.Next.Is(j.Image) {
			return nil
		}
	}
	return j.fetch(ctx, run, tools)
}

// begin notes what the host had before.
func (j *job) begin(status Status) error {
	return j.edit(func(c *change) {
		if c.From.ID == "" {
			c.From, c.Known = status.Booted, status.has(j.Image)
		}
	})
}

// fetch stages, and believes it only when the next boot takes the image.
func (j *job) fetch(ctx context.Context, run engine.Run, tools Tools) error {
	run.Say("staging " + j.Image.String() + " with " + j.Driver.Name())
	if err := j.Driver.Stage(ctx, tools, j.Image); err != nil {
		return err
	}
	status, err := j.Driver.Look(ctx, tools)
	if err != nil {
		return err
	}
	if !status.Next.Is(j.Image) {
		return fmt.Errorf("%s says that it staged %s, but the next boot would take %s", j.Driver.Name(), j.Image, status.Next)
	}
	return nil
}

// unstage takes the staging back: what nobody drained for must not come up with
// the next reboot, whoever makes it.
func (j *job) unstage(ctx context.Context, run engine.Run) error {
	tools := j.tools(run)
	status, err := j.Driver.Look(ctx, tools)
	if err != nil {
		return err
	}
	if status.Booted.Is(j.Image) || status.Next.Same(status.Booted) {
		return nil
	}
	run.Say("making " + status.Booted.String() + " the next image to boot again")
	return j.Driver.Unstage(ctx, tools)
}
