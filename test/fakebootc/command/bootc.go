package command

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Host is a host of bootc in a folder.
type Host struct {
	// Root is the host's root.
	Root string
	Settings
	// Stdout takes what programs print, both streams alike.
	Stdout io.Writer
}

// Files of the stand-in: deployments are on disk, what is staged is in /run, as with ostree (ostree
// src/libostree/ostree-sysroot-deploy.c: /run/ostree/staged-deployment).
const (
	deployed = "sysroot/fakebootc.json"
	staged   = "run/ostree/staged-deployment"
)

// deployment is one bootable image.
type deployment struct {
	Ref    string `json:"ref"`
	Digest string `json:"digest"`
}

// disk are the deployments in their boot order, and which one runs.
type disk struct {
	List   []deployment `json:"list"`
	Booted int          `json:"booted"`
	// Boots counts starts of a deployment that was not yet found healthy.
	Boots int `json:"boots"`
}

func (h *Host) say(format string, args ...any) { fmt.Fprintf(h.Stdout, format+"\n", args...) }

func (h *Host) path(name string) string { return filepath.Join(h.Root, name) }

func (h *Host) read(name string, into any) error {
	raw, err := os.ReadFile(h.path(name))
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func (h *Host) write(name string, value any) error {
	raw, ok := value.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(value); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(h.path(name), raw, 0o644)
}

// errGone ends a program as a power cut does.
var errGone = errors.New("gone")

func (h *Host) fault(command string) error {
	for _, f := range h.Faults {
		if f.Command != command {
			continue
		}
		switch f.Action {
		case "slow":
			time.Sleep(time.Duration(f.MS) * time.Millisecond)
		case "full":
			// crates/lib/src/deploy.rs, check_disk_space_inner.
			return errors.New("Insufficient free space for image (available: 12 bytes required: 1.0 GB)")
		case "kill":
			return errGone
		default:
			return fmt.Errorf("fault at %s", command)
		}
	}
	return nil
}

// Bootc is bootc.
func (h *Host) Bootc(args []string) int {
	var err error
	switch {
	case slices.Equal(args, []string{"status", "--format", "json"}):
		err = h.status()
	case len(args) == 3 && args[0] == "switch" && args[1] == "--quiet":
		err = h.switchTo(args[2])
	case slices.Equal(args, []string{"rollback"}):
		err = h.rollback()
	default:
		err = fmt.Errorf("this stand-in plays no bootc %s", strings.Join(args, " "))
	}
	return h.exit(err)
}

func (h *Host) exit(err error) int {
	if errors.Is(err, errGone) {
		return 137
	}
	if err != nil {
		h.say("error: %v", err)
		return 1
	}
	return 0
}

// switchTo is crates/lib/src/cli.rs, switch_ostree: a target that is the specification already is left alone; else it is
// fetched and staged, to be deployed when the host shuts down.
func (h *Host) switchTo(ref string) error {
	if err := h.fault("switch"); err != nil {
		return err
	}
	var d disk
	if err := h.read(deployed, &d); err != nil {
		return err
	}
	spec := d.List[d.Booted].Ref
	var next deployment
	if h.read(staged, &next) == nil {
		spec = next.Ref
	}
	if spec == ref {
		h.say("Image specification is unchanged.")
		return nil
	}
	if h.Images != nil && !slices.Contains(h.Images, ref) {
		return fmt.Errorf("Switching: Pulling: Creating importer: failed to invoke method OpenImage: reading manifest in %s: manifest unknown", ref)
	}
	h.say("Queued for next boot: %s", ref)
	return h.write(staged, deployment{Ref: ref, Digest: h.digest(ref)})
}

// digest is the manifest's: that of the reference, but for an index, of which bootc takes the manifest for its architecture.
func (h *Host) digest(ref string) string {
	_, digest, _ := strings.Cut(ref, "@")
	if h.Index || digest == "" {
		return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("manifest of "+ref)))
	}
	return digest
}

// rollback is bootc-rollback(8): the rollback deployment is queued for the next boot, or, queued, is not any more; what is
// staged is dropped.
func (h *Host) rollback() error {
	if err := h.fault("rollback"); err != nil {
		return err
	}
	var d disk
	if err := h.read(deployed, &d); err != nil {
		return err
	}
	if len(d.List) < 2 {
		return errors.New("Rolling back: No rollback available")
	}
	_ = os.Remove(h.path(staged))
	d.List[0], d.List[1] = d.List[1], d.List[0]
	d.Booted = 1 - d.Booted
	h.say("Next boot: %s", map[bool]string{true: "current deployment", false: "rollback deployment"}[d.Booted == 0])
	return h.write(deployed, d)
}

// Ostree is ostree admin undeploy INDEX (ostreedev/ostree src/ostree/ot-admin-builtin-undeploy.c): index 0 is the staged
// deployment where there is one, and the booted one is not dropped.
func (h *Host) Ostree(args []string) int {
	if !slices.Equal(args, []string{"admin", "undeploy", "0"}) {
		return h.exit(fmt.Errorf("this stand-in plays no ostree %s", strings.Join(args, " ")))
	}
	if err := h.fault("undeploy"); err != nil {
		return h.exit(err)
	}
	if os.Remove(h.path(staged)) == nil {
		h.say("Deleted deployment staged.0")
		return 0
	}
	return h.exit(errors.New("Cannot undeploy currently booted deployment 0"))
}
