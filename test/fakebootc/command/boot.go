package command

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// maxBoots is GREENBOOT_MAX_BOOTS: how often a new deployment is started before greenboot goes back (Red Hat, "The greenboot
// health check": three by default).
const maxBoots = 3

// Installed makes a host that was installed from an image.
func (h *Host) Installed(ref string) error {
	return h.write(deployed, disk{List: []deployment{{Ref: ref, Digest: h.digest(ref)}}})
}

// Shutdown is a proper one: what is staged becomes a deployment (bootc-upgrade(8): ostree-finalize-staged.service), and what
// runs the rollback. A power cut leaves it out.
func (h *Host) Shutdown() error {
	var next deployment
	err := h.read(staged, &next)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var d disk
	if err := h.read(deployed, &d); err != nil {
		return err
	}
	d = disk{List: []deployment{next, d.List[d.Booted]}}
	return errors.Join(h.write(deployed, d), os.Remove(h.path(staged)))
}

// Boot starts the first deployment, and after as many failures as greenboot allows the rollback.
func (h *Host) Boot() error {
	_ = os.Remove(h.path(staged)) // /run is new
	var d disk
	if err := h.read(deployed, &d); err != nil {
		return err
	}
	d.Booted = 0
	for range maxBoots {
		if !slices.Contains(h.Broken, d.List[0].Ref) {
			return h.up(d)
		}
	}
	if len(d.List) < 2 {
		return errors.New("no deployment comes up, and there is none to go back to")
	}
	// redboot-auto-reboot: rpm-ostree or bootc rollback, then a reboot.
	d.List[0], d.List[1] = d.List[1], d.List[0]
	return h.up(d)
}

func (h *Host) up(d disk) error {
	boot := make([]byte, 16)
	if _, err := rand.Read(boot); err != nil {
		return err
	}
	return errors.Join(h.write(deployed, d), h.write("proc/cmdline", []byte("BOOT_IMAGE=(hd0,gpt2)/ostree/vmlinuz ostree=/ostree/boot.1/default/0\n")),
		h.write("proc/self/mountinfo", []byte(h.mounts())), h.write("proc/sys/kernel/random/boot_id", fmt.Appendf(nil, "%x\n", boot)))
}

// mounts are those of a booted deployment: the root a read-only composefs, /etc and /var on disk (docs/src/filesystem.md).
func (h *Host) mounts() string {
	lines := []string{
		"20 1 0:20 / / ro,relatime - overlay composefs ro,lowerdir=/run/ostree/.private/cfsroot-lower,redirect_dir=on",
		"21 20 253:0 /ostree/deploy/default/deploy/1.0/etc /etc rw,relatime - xfs /dev/vda4 rw",
		"22 20 253:0 /ostree/deploy/default/var /var rw,relatime - xfs /dev/vda4 rw",
		"23 20 253:0 / /sysroot ro,relatime - xfs /dev/vda4 rw",
	}
	for i, path := range h.BindMounts {
		lines = append(lines, fmt.Sprintf("%d 20 253:0 /ostree/deploy/default/var%s %s rw,relatime - xfs /dev/vda4 rw", 30+i, path, path))
	}
	return strings.Join(lines, "\n") + "\n"
}
