package osimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hybridagent/agent/operation/engine"
	"hybridagent/agent/operation/runner"
)

// Deadlines of the steps, and how long they take as a rule.
const (
	lookDeadline   = 2 * time.Minute
	stageDeadline  = 40 * time.Minute
	stageExpected  = 5 * time.Minute
	rebootDeadline = stageDeadline + 10*time.Minute
	rebootExpected = 3 * time.Minute
)

// Options say which image, and how the host is seen.
type Options struct {
	// Driver is Detect's.
	Driver Driver
	// Dir is root's state directory.
	Dir string
	// Root is "/" but in tests.
	Root string
	// OperationID of the operation that the steps belong to.
	OperationID string
	// Image that is wanted; Digest must be set.
	Image Ref
	// Runner runs the tools.
	Runner runner.Runner
	// Environment is all that the tools get, NAME=value; PATH and HOME are added
	// where they are missing.
	Environment []string
	// Need is how many bytes the image takes on the host; 0: not known, the driver
	// guesses.
	Need uint64
	// Paths must outlive a change of the image; nil: DefaultPaths.
	Paths []string
	// Reboot asks for a reboot and returns at once, for example
	// systemd.Manager.Reboot.
	Reboot func(ctx context.Context) error
	// BootID names the present boot; nil: BootID(Root).
	BootID func() (string, error)
	// FreeBytes tells how much of the disk below a path is free; nil: statfs.
	FreeBytes func(path string) (uint64, error)
}

func (o Options) withDefaults() Options {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Paths == nil {
		o.Paths = DefaultPaths()
	}
	if o.BootID == nil {
		o.BootID = func() (string, error) { return BootID(o.Root) }
	}
	if o.FreeBytes == nil {
		o.FreeBytes = freeBytes
	}
	given := "\n" + strings.Join(o.Environment, "\n")
	for name, value := range map[string]string{"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"} {
		if !strings.Contains(given, "\n"+name+"=") {
			o.Environment = append(o.Environment[:len(o.Environment):len(o.Environment)], name+"="+value)
		}
	}
	return o
}

// BootID is the kernel's name for the present boot (random(4), boot_id).
func BootID(root string) (string, error) {
	content, err := os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("cannot tell one boot from another: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

func freeBytes(path string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, fmt.Errorf("cannot tell how much of %s is free: %w", path, err)
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}

// job is a change of the image.
type job struct{ Options }

func (j *job) tools(run engine.Run) Tools {
	return Tools{Runner: j.Runner, ID: run.ID, OperationID: j.OperationID, Environment: j.Environment, Line: run.Line}
}

// edit changes the operation's part of the record; that of another operation is
// forgotten.
func (j *job) edit(do func(*change)) error {
	return changeRecord(j.Dir, func(kept *record) {
		if kept.Change.Operation != j.OperationID {
			kept.Change = change{Operation: j.OperationID}
		}
		do(&kept.Change)
	})
}

// change is the operation's part of the record.
func (j *job) change() (change, error) {
	kept, err := readRecord(j.Dir)
	if err != nil || kept.Change.Operation != j.OperationID {
		return change{Operation: j.OperationID}, err
	}
	return kept.Change, nil
}
