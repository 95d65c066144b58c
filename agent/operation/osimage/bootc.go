package osimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Bootc drives bootc. A new image is staged and becomes a deployment of its own
// when the host is shut down properly (bootc-upgrade(8): ostree-finalize-staged.service);
// a power cut before that loses it without a trace. What was booted before stays
// as the rollback deployment, which greenboot goes back to after its health checks
// have failed.
type Bootc struct {
	root, program string
	ostree        string // empty: there is none
}

// Name is bootc.
func (b *Bootc) Name() string { return "bootc" }

// host is what is used of bootc's status (bootc docs/src/host-v1.schema.json).
type host struct {
	APIVersion string `json:"apiVersion"`
	Status     struct {
		Staged           *bootEntry  `json:"staged"`
		Booted           *bootEntry  `json:"booted"`
		Rollback         *bootEntry  `json:"rollback"`
		OtherDeployments []bootEntry `json:"otherDeployments"`
		RollbackQueued   bool        `json:"rollbackQueued"`
	} `json:"status"`
}

type bootEntry struct {
	Image *struct {
		Image struct {
			Image     string `json:"image"`
			Transport string `json:"transport"`
		} `json:"image"`
		ImageDigest string `json:"imageDigest"`
	} `json:"image"`
	Incompatible bool `json:"incompatible"`
	DownloadOnly bool `json:"downloadOnly"`
}

func (e *bootEntry) toImage() Image {
	if e == nil || e.Image == nil {
		return Image{}
	}
	return Image{Name: e.Image.Image.Image, Digest: e.Image.ImageDigest, ID: e.Image.ImageDigest}
}

// status runs bootc status. Its JSON is one line, among which warnings may stand:
// the runner keeps standard error with it.
func (b *Bootc) status(ctx context.Context, tools Tools, suffix string) (host, error) {
	lines, err := tools.run(ctx, suffix, b.program, "status", "--format", "json")
	if err != nil {
		return host{}, err
	}
	return parseStatus(lines)
}

// parseStatus finds the JSON object in bootc's output.
func parseStatus(lines []string) (host, error) {
	for i, line := range lines {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var h host
		if json.NewDecoder(strings.NewReader(strings.Join(lines[i:], ""))).Decode(&h) != nil || !strings.HasPrefix(h.APIVersion, "org.containers.bootc/") {
			continue
		}
		if h.Status.Booted == nil {
			// bootc-status(8), "Programmatically detecting".
			return host{}, errors.New("this host was not booted from an image of bootc: bootc status names none as booted")
		}
		if h.Status.Booted.Image == nil {
			return host{}, errors.New("this host was changed in ways that bootc does not follow (rpm-ostree install or an ostree remote): bootc status names no booted image; bring it back to an image with bootc switch first")
		}
		return h, nil
	}
	return host{}, fmt.Errorf("cannot read what bootc status says: %q", strings.Join(lines[:min(len(lines), shownLines)], " | "))
}

// Look asks bootc status.
func (b *Bootc) Look(ctx context.Context, tools Tools) (Status, error) {
	h, err := b.status(ctx, tools, "-look")
	if err != nil {
		return Status{}, err
	}
	status := Status{Booted: h.Status.Booted.toImage(), Slot: "booted"}
	status.Next = status.Booted
	switch {
	case h.Status.Staged != nil && !h.Status.Staged.DownloadOnly:
		status.Next = h.Status.Staged.toImage()
	case h.Status.RollbackQueued:
		status.Next = h.Status.Rollback.toImage()
	}
	if h.Status.Rollback != nil {
		status.Others = append(status.Others, h.Status.Rollback.toImage())
	}
	for _, entry := range h.Status.OtherDeployments {
		status.Others = append(status.Others, entry.toImage())
	}
	return status, nil
}

// Stage runs bootc switch with the image by digest, for which bootc upgrade is a
// no-op afterwards: nothing but an operation changes the image (bootc-switch(8)).
// --retain is left out: the former image stays as the rollback deployment all the
// same, and retained ones would fill the disk.
func (b *Bootc) Stage(ctx context.Context, tools Tools, ref Ref) error {
	_, err := tools.run(ctx, "", b.program, "switch", "--quiet", ref.Pinned())
	return err
}

// Unstage drops the staged deployment: index 0 is the newest one, and ostree
// refuses to drop the booted one (ostree src/ostree/ot-admin-builtin-undeploy.c).
// bootc rollback would drop it as well, but boot the former image next
// (bootc-rollback(8)).
func (b *Bootc) Unstage(ctx context.Context, tools Tools) error {
	h, err := b.status(ctx, tools, "-before")
	if err != nil || h.Status.Staged == nil {
		return err
	}
	if b.ostree == "" {
		return fmt.Errorf("cannot drop the staged image %s: ostree is missing in the image; run bootc switch %s before the next reboot", h.Status.Staged.toImage(), h.Status.Booted.toImage())
	}
	if _, err := tools.run(ctx, "", b.ostree, "admin", "undeploy", "0"); err != nil {
		return fmt.Errorf("cannot drop the staged image: %w", err)
	}
	h, err = b.status(ctx, tools, "-after")
	if err == nil && h.Status.Staged != nil {
		err = fmt.Errorf("cannot drop the staged image %s: it is still staged; run bootc switch %s before the next reboot", h.Status.Staged.toImage(), h.Status.Booted.toImage())
	}
	return err
}

// Revert queues the rollback deployment. bootc rollback toggles, so it is asked
// first.
func (b *Bootc) Revert(ctx context.Context, tools Tools, former Image) error {
	h, err := b.status(ctx, tools, "-before")
	switch {
	case err != nil:
		return err
	case !h.Status.Rollback.toImage().Same(former):
		return fmt.Errorf("cannot return to %s: bootc would roll back to %s; repave the host with the image that is wanted", former, h.Status.Rollback.toImage())
	case h.Status.RollbackQueued && h.Status.Staged == nil:
		return nil
	}
	_, err = tools.run(ctx, "", b.program, "rollback")
	return err
}

// Arm has nothing to do: greenboot counts boots of new deployments itself.
func (b *Bootc) Arm(context.Context, Tools) error { return nil }

// Room is the disk below /sysroot. Only layers that the host lacks are fetched, and
// bootc refuses by itself what does not fit (crates/lib/src/deploy.rs,
// check_disk_space_inner); a gigabyte is what an update of a base image takes.
func (b *Bootc) Room() (string, uint64, error) {
	const usual = 1 << 30
	return filepath.Join(b.root, "sysroot"), usual, nil
}

// Mounting says how a folder of the read-only root is kept: /etc and /var persist
// by themselves.
func (b *Bootc) Mounting(paths []string) string {
	return "bind them to folders below /var in the image, with a .mount unit each (What=/var" + paths[0] + ", Where=" + paths[0] + ", Options=bind), and keep /etc and /var on disk"
}
