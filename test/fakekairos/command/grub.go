package command

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// env reads GRUB's environment of the boot assessment.
func (h *Host) env() map[string]string {
	out := map[string]string{}
	content, _ := os.ReadFile(h.path(grubEnv))
	for _, line := range strings.Split(string(content), "\n") {
		if name, value, found := strings.Cut(line, "="); found {
			out[name] = value
		}
	}
	return out
}

// setEnv writes it as grub2-editenv does: a header, variables, and # up to 1,024 bytes.
func (h *Host) setEnv(values map[string]string) error {
	all := h.env()
	maps.Copy(all, values)
	var out strings.Builder
	out.WriteString("# GRUB Environment Block\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&out, "%s=%s\n", name, all[name])
	}
	return h.write(grubEnv, []byte(out.String()+strings.Repeat("#", max(0, 1024-out.Len()))))
}

// Editenv is grub2-editenv FILE set NAME=VALUE.
func (h *Host) Editenv(args []string) int {
	if len(args) != 3 || args[1] != "set" || args[0] != h.path(grubEnv) {
		h.say("this stand-in plays no grub2-editenv %s", strings.Join(args, " "))
		return 1
	}
	name, value, _ := strings.Cut(args[2], "=")
	if err := h.setEnv(map[string]string{name: value}); err != nil {
		h.say("%v", err)
		return 1
	}
	return 0
}

// maxBoots ends a host that GRUB starts over and over.
const maxBoots = 5

// errLoop says that nothing comes up.
var errLoop = errors.New("the host reboots over and over")

// Boot starts the host as often as it takes until an image comes up, and returns its slot. An image that does not come up
// panics and is started anew after 5 s (08_grub.yaml: panic=5, rd.emergency=reboot).
func (h *Host) Boot() (string, error) {
	for range maxBoots {
		slot, failed := h.choose()
		image := map[string]string{"active": active, "passive": passive}[slot]
		ref, err := refOf(h.path(image))
		if err != nil {
			// grub.cfg: fallback="0 1 2", the next entry that can be loaded.
			slot, image = "passive", passive
			if ref, err = refOf(h.path(image)); err != nil {
				return "recovery", h.up("recovery", "", failed)
			}
		}
		if slices.Contains(h.Broken, ref) {
			continue
		}
		return slot, h.up(slot, image, failed)
	}
	return "", errLoop
}

// choose is grub_boot_assessment of 08_grub.yaml.
func (h *Host) choose() (slot string, failed bool) {
	env := h.env()
	if env["enable_boot_assessment"] != "yes" {
		return "active", false
	}
	if env["boot_assessment_tentative"] == "yes" {
		return "passive", true
	}
	_ = h.setEnv(map[string]string{"boot_assessment_tentative": "yes"})
	return "active", false
}

// up is what a started system shows, and the stage boot.before of 08_grub.yaml, which clears both sentinels on the active image
// and on no other.
func (h *Host) up(slot, image string, failed bool) error {
	label := map[string]string{"active": "COS_ACTIVE", "passive": "COS_PASSIVE", "recovery": "COS_SYSTEM"}[slot]
	cmdline := "BOOT_IMAGE=(loop0)/boot/vmlinuz root=LABEL=" + label + " cos-img/filename=/cOS/" + filepath.Base(image) + " panic=5"
	if failed && slot == "passive" {
		cmdline += " upgrade_failure"
	}
	if slot == "active" {
		if err := h.setEnv(map[string]string{"enable_boot_assessment": "", "boot_assessment_tentative": ""}); err != nil {
			return err
		}
	}
	_ = os.Remove(h.path("dev/loop0"))
	if err := os.MkdirAll(h.path("dev"), 0o755); err != nil {
		return err
	}
	if image != "" {
		// The loop device keeps the image even when its file gets another name.
		if err := os.Link(h.path(image), h.path("dev/loop0")); err != nil {
			return err
		}
	}
	boot := make([]byte, 16)
	if _, err := rand.Read(boot); err != nil {
		return err
	}
	return errors.Join(h.write("proc/cmdline", []byte(cmdline+"\n")), h.write("proc/self/mountinfo", []byte(h.mounts())),
		h.write("proc/sys/kernel/random/boot_id", fmt.Appendf(nil, "%x\n", boot)))
}

// mounts are those of a running system: the image read-only, /etc and /var in memory, and what 00_rootfs.yaml and the user-data
// keep on the persistent partition.
func (h *Host) mounts() string {
	lines := []string{
		"20 1 7:0 / / ro,relatime shared:1 - ext2 /dev/loop0 ro",
		"21 20 0:20 / /run rw - tmpfs tmpfs rw",
		"22 21 0:21 / /run/overlay rw - tmpfs tmpfs rw",
		"23 20 0:22 / /etc rw - overlay overlay rw,lowerdir=/etc,upperdir=/run/overlay/etc.upper,workdir=/run/overlay/etc.work",
		"24 20 0:23 / /var rw - overlay overlay rw,lowerdir=/var,upperdir=/run/overlay/var.upper,workdir=/run/overlay/var.work",
		"25 20 8:5 / /usr/local rw,relatime - ext4 /dev/vda5 rw",
	}
	for i, path := range append([]string{"/etc/kubernetes", "/var/lib/kubelet"}, h.BindMounts...) {
		lines = append(lines, fmt.Sprintf("%d 20 8:5 /.state/%s.bind %s rw,relatime - ext4 /dev/vda5 rw", 30+i, strings.ReplaceAll(strings.Trim(path, "/"), "/", "-"), path))
	}
	return strings.Join(lines, "\n") + "\n"
}
