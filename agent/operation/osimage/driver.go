package osimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Status is what a host has booted and what it would boot next.
type Status struct {
	// Booted is what runs.
	Booted Image
	// Next is what the next boot takes.
	Next Image
	// Others are the other images that are there.
	Others []Image
	// Slot is where the booted image lies, in the tool's words: active, passive,
	// recovery, booted.
	Slot string
	// GaveUp says why the boot loader passed over the image that was staged; empty:
	// it did not, or nothing tells.
	GaveUp string
}

// has reports whether an image is on the host.
func (s Status) has(ref Ref) bool {
	for _, image := range append([]Image{s.Booted, s.Next}, s.Others...) {
		if image.Is(ref) {
			return true
		}
	}
	return false
}

// Driver is one tool that manages a host's image. Its methods run the tool as
// root through Tools and may be called again after a power cut at any point.
type Driver interface {
	// Name is kairos or bootc.
	Name() string
	// Look says what is booted and what is next.
	Look(ctx context.Context, tools Tools) (Status, error)
	// Stage fetches an image and makes it the next to boot; what is booted stays to
	// fall back on. The run of the tool that takes long has the ID tools.ID.
	Stage(ctx context.Context, tools Tools, ref Ref) error
	// Unstage makes what is booted the next to boot again.
	Unstage(ctx context.Context, tools Tools) error
	// Revert makes the former image the next to boot.
	Revert(ctx context.Context, tools Tools, former Image) error
	// Arm prepares the boot loader for a first boot of what is staged.
	Arm(ctx context.Context, tools Tools) error
	// Room says where images lie and how many bytes another one takes where nobody
	// knows better.
	Room() (path string, need uint64, err error)
	// Mounting says how a folder is kept over a change of the image, for people.
	Mounting(paths []string) string
}

// programFolders are where programs are looked for, below the host's root.
func programFolders() []string { return []string{"usr/bin", "usr/sbin", "bin", "sbin"} }

// program finds a program of the host; empty: there is none.
func program(root, name string) string {
	for _, folder := range programFolders() {
		path := filepath.Join(root, folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// ErrNoDriver says that a host is no appliance that this package knows.
var ErrNoDriver = errors.New("this host runs no image of kairos or bootc: neither kairos-agent nor bootc is there; " +
	"boot an appliance's image, or use a profile in agent mode")

// Detect finds the driver of a host from its root ("/" but in tests); dir is root's
// state directory. ErrNoDriver where there is none.
func Detect(root, dir string) (Driver, error) {
	if agent := program(root, "kairos-agent"); agent != "" {
		return detectKairos(root, dir, agent)
	}
	if bootc := program(root, "bootc"); bootc != "" {
		return &Bootc{root: root, program: bootc, ostree: program(root, "ostree")}, nil
	}
	return nil, ErrNoDriver
}

func detectKairos(root, dir, agent string) (Driver, error) {
	cmdline, err := os.ReadFile(filepath.Join(root, "proc/cmdline"))
	if err != nil {
		return nil, fmt.Errorf("cannot tell what this host has booted: %w", err)
	}
	if strings.Contains(string(cmdline), "rd.immucore.uki") {
		return nil, errors.New("cannot manage the image of this host: it was booted as a unified kernel image (Kairos Trusted Boot), " +
			"which this version does not know; upgrade it with kairos-agent by hand")
	}
	return &Kairos{root: root, dir: dir, agent: agent}, nil
}
