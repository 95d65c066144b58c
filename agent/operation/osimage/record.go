package osimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"hybridagent/agent/store"
)

// Name and schema of the file.
const (
	recordFile   = "os-image"
	recordSchema = 1
)

// record is what root notes of images; nothing else on the host tells it.
type record struct {
	// Images by the UUID of their file system (kairos).
	Images map[string]Ref `json:"images"`
	// Staging is the last staging.
	Staging staging `json:"staging"`
	// Change is the change of the image that was begun last.
	Change change `json:"change"`
	// Booted is what was verified last, and BootedIn the boot in which.
	Booted   Image  `json:"booted"`
	BootedIn string `json:"bootedIn"`
}

// staging is noted before a tool runs, and made whole after it.
type staging struct {
	Ref Ref `json:"ref"`
	// Before is the ID of the active image when it began.
	Before string `json:"before"`
	Whole  bool   `json:"whole"`
}

// change is one operation's way from one image to another.
type change struct {
	// Operation that it belongs to.
	Operation string `json:"operation"`
	// From is what was booted when it began.
	From Image `json:"from"`
	// Known is set where the wanted image was on the host before.
	Known bool `json:"known"`
	// Boot is the ID of the boot in which the last reboot was asked for.
	Boot string `json:"boot"`
	// Tries is how often a boot of the wanted image was asked for.
	Tries int `json:"tries"`
	// Back is the ID of the boot in which the way back was asked for.
	Back string `json:"back"`
}

func (r record) stagedWhole() bool { return r.Staging.Ref.Digest == "" || r.Staging.Whole }

// readRecord reads the file; what was never written is empty, and what is damaged
// is set aside: then the images that are there have no names, and staging begins
// anew.
func readRecord(dir string) (record, error) {
	kept := record{Images: map[string]Ref{}}
	payload, err := store.ReadOrSetAside(filepath.Join(dir, recordFile), recordSchema)
	var damaged *store.CorruptError
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &damaged):
		return kept, nil
	case err != nil:
		return kept, fmt.Errorf("cannot read what is known of images: %w", err)
	}
	if json.Unmarshal(payload, &kept) != nil {
		kept = record{}
	}
	if kept.Images == nil {
		kept.Images = map[string]Ref{}
	}
	return kept, nil
}

// changeRecord changes the file and waits until it is on disk.
func changeRecord(dir string, edit func(*record)) error {
	kept, err := readRecord(dir)
	if err != nil {
		return err
	}
	edit(&kept)
	payload, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("cannot encode what is known of images: %w", err)
	}
	if err := store.Write(filepath.Join(dir, recordFile), recordSchema, payload); err != nil {
		return fmt.Errorf("cannot note what is known of images: %w", err)
	}
	return nil
}

// Running is the booted image by the name that assignments give it: the URI under
// which an operation verified it, else what the host itself knows; for example for
// NodeState.booted_os_image and the planner's facts. It runs the tool once.
func Running(ctx context.Context, driver Driver, tools Tools, dir string) (Image, error) {
	status, err := driver.Look(ctx, tools)
	if err != nil {
		return Image{}, err
	}
	kept, err := readRecord(dir)
	if err != nil {
		return Image{}, err
	}
	if status.Booted.Same(kept.Booted) {
		return kept.Booted, nil
	}
	return status.Booted, nil
}

// Asked reports whether an operation has asked for a reboot into another image.
func Asked(dir, operationID string) bool {
	kept, err := readRecord(dir)
	return err == nil && kept.Change.Operation == operationID && kept.Change.Boot != ""
}

// Known is Running without a program being run, which could end one that an
// operation has started: what files tell (kairos), or what was verified in this
// boot (bootc). Empty: nothing tells.
func Known(ctx context.Context, driver Driver, root, dir string) string {
	if kairos, ok := driver.(*Kairos); ok {
		image, err := Running(ctx, kairos, Tools{}, dir)
		if err != nil {
			return ""
		}
		return image.Name
	}
	kept, err := readRecord(dir)
	boot, bootErr := BootID(root)
	if err != nil || bootErr != nil || kept.BootedIn != boot {
		return ""
	}
	return kept.Booted.Name
}
